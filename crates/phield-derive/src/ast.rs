//! Takes the struct apart: its fields, and which of their types hold PHI. Judges nothing but the shape of the input.

use proc_macro2::{Ident, Span};
use syn::spanned::Spanned as _;
use syn::visit::{self, Visit};
use syn::{
    Attribute, Data, DataStruct, DeriveInput, Fields, FieldsNamed, GenericArgument, GenericParam, Generics,
    Path, PathArguments, PathSegment, Type, Visibility,
};

use crate::attr::{self, Attr};
use crate::errors::Errors;

/// A struct with named fields.
pub(crate) struct Input<'a> {
    pub(crate) ident: &'a Ident,
    pub(crate) vis: &'a Visibility,
    pub(crate) generics: &'a Generics,
    /// Its doc comments.
    pub(crate) docs: Vec<&'a Attribute>,
    pub(crate) attrs: Vec<Attr>,
    pub(crate) fields: Vec<InputField<'a>>,
}

/// One field.
pub(crate) struct InputField<'a> {
    pub(crate) ident: &'a Ident,
    pub(crate) vis: &'a Visibility,
    /// Its doc comments.
    pub(crate) docs: Vec<&'a Attribute>,
    pub(crate) ty: &'a Type,
    pub(crate) shape: Shape<'a>,
    pub(crate) attrs: Vec<Attr>,
}

/// What the derive sees of a field's type. It sees names, not types: aliases look like any other type.
#[derive(Clone, Copy)]
pub(crate) enum Shape<'a> {
    /// `Phi<T>`, with its `T`.
    Phi(&'a Type),
    /// `Option<Phi<T>>`, with its `T`.
    OptionPhi(&'a Type),
    /// Something else that names `Phi`, and where.
    Hidden(Span),
    /// Any other type.
    Other,
}

impl<'a> Input<'a> {
    /// The parts of a struct with named fields. Anything else is an error at once.
    pub(crate) fn parse(input: &'a DeriveInput, errors: &Errors) -> syn::Result<Self> {
        let fields = named_fields(input)?.named.iter().filter_map(|field| {
            let (ident, attrs) = (field.ident.as_ref()?, attr::parse(&field.attrs, errors));
            Some(InputField {
                ident,
                vis: &field.vis,
                docs: docs(&field.attrs),
                ty: &field.ty,
                shape: Shape::of(&field.ty),
                attrs,
            })
        });
        let fields = fields.collect();
        Ok(Self {
            ident: &input.ident,
            vis: &input.vis,
            generics: &input.generics,
            docs: docs(&input.attrs),
            attrs: attr::parse(&input.attrs, errors),
            fields,
        })
    }
}

fn docs(attributes: &[Attribute]) -> Vec<&Attribute> {
    let is_doc = |attribute: &&Attribute| attribute.path().is_ident("doc");
    attributes.iter().filter(is_doc).collect()
}

fn named_fields(input: &DeriveInput) -> syn::Result<&FieldsNamed> {
    let refuse = |span, message| Err(syn::Error::new(span, message));
    if let Some(lifetime) = input.generics.lifetimes().next() {
        return refuse(
            lifetime.span(),
            "a model has no lifetimes: what is opened is owned, and erased where it is dropped",
        );
    }
    match &input.data {
        Data::Struct(DataStruct {
            fields: Fields::Named(fields),
            ..
        }) => Ok(fields),
        Data::Struct(_) => refuse(
            input.ident.span(),
            "EncryptedPhi needs a struct with named fields: columns have names",
        ),
        Data::Enum(_) => refuse(input.ident.span(), "EncryptedPhi is for structs, not for enums"),
        Data::Union(_) => refuse(input.ident.span(), "EncryptedPhi is for structs, not for unions"),
    }
}

impl<'a> Shape<'a> {
    fn of(ty: &'a Type) -> Self {
        let optional = argument(ty, "Option").and_then(|inner| argument(inner, "Phi"));
        let (shape, inner) = match (argument(ty, "Phi"), optional) {
            (Some(value), _) => (Shape::Phi(value), value),
            (None, Some(value)) => (Shape::OptionPhi(value), value),
            (None, None) => (Shape::Other, ty),
        };
        find_phi(inner).map_or(shape, Shape::Hidden)
    }
}

/// `T` of a path that ends in `name<T>`.
pub(crate) fn argument<'a>(ty: &'a Type, name: &str) -> Option<&'a Type> {
    let PathArguments::AngleBracketed(arguments) =
        &last_segment(ty).filter(|last| last.ident == name)?.arguments
    else {
        return None;
    };
    match arguments.args.first() {
        Some(GenericArgument::Type(ty)) if arguments.args.len() == 1 => Some(ty),
        _ => None,
    }
}

/// The last segment of a type that is a path, in parentheses or not.
pub(crate) fn last_segment(ty: &Type) -> Option<&PathSegment> {
    match ty {
        Type::Path(path) => path.path.segments.last(),
        Type::Group(group) => last_segment(&group.elem),
        Type::Paren(paren) => last_segment(&paren.elem),
        _ => None,
    }
}

/// Whether a type names a parameter of the struct.
pub(crate) fn mentions(ty: &Type, generics: &Generics) -> bool {
    let mut finder = Parameters {
        generics,
        found: false,
    };
    finder.visit_type(ty);
    finder.found
}

/// As [`mentions`], of the path of a type.
pub(crate) fn path_mentions(path: &Path, generics: &Generics) -> bool {
    let mut finder = Parameters {
        generics,
        found: false,
    };
    finder.visit_path(path);
    finder.found
}

/// Finds the parameters of a struct.
struct Parameters<'g> {
    generics: &'g Generics,
    found: bool,
}

impl<'ast> Visit<'ast> for Parameters<'_> {
    fn visit_path(&mut self, path: &'ast Path) {
        let first = path.segments.first().filter(|_| path.leading_colon.is_none());
        self.found |= first.is_some_and(|first| {
            self.generics.params.iter().any(|parameter| match parameter {
                GenericParam::Type(parameter) => parameter.ident == first.ident,
                GenericParam::Const(parameter) => parameter.ident == first.ident,
                GenericParam::Lifetime(_) => false,
            })
        });
        visit::visit_path(self, path);
    }
}

/// Where a type names `Phi`.
fn find_phi(ty: &Type) -> Option<Span> {
    struct Finder(Option<Span>);

    impl<'ast> Visit<'ast> for Finder {
        fn visit_path_segment(&mut self, segment: &'ast PathSegment) {
            if segment.ident == "Phi" {
                self.0.get_or_insert(segment.ident.span());
            }
            visit::visit_path_segment(self, segment);
        }
    }

    let mut finder = Finder(None);
    finder.visit_type(ty);
    finder.0
}
