//! The methods of the model and of its columns.
//!
//! Variables of generated functions are hygienic (`mixed_site`): a field may have the name of any of them.

use proc_macro2::{Ident, Literal, Span, TokenStream};
use quote::{format_ident, quote, quote_spanned};

use super::binding::{self, Keys};
use super::form::Form;
use super::generics::{self, Generics};
use super::{columns, names};
use crate::valid::{Index, Model, Sealed};

/// Sealing whole rows, sealing single fields, and searching.
pub(super) fn of_model(model: &Model<'_>, generics: &Generics) -> TokenStream {
    let rows = Form::of(&model.indexes)
        .into_iter()
        .map(|form| seal(model, generics, form));
    // With an `extra`, the tokens of a row are sealed together: one on its own would be of another revision.
    let groups = match model.binding.extra {
        Some(_) => Vec::new(),
        None => names::groups(model),
    };
    let groups = groups.iter().flat_map(|group| {
        let forms = Form::of(group.indexes.iter().copied());
        forms.into_iter().map(|form| seal_group(model, group, form))
    });
    let queries = model.indexes.iter().flat_map(|index| {
        let forms = Form::of([index]);
        forms.into_iter().map(|form| query(model, index, form))
    });
    quote!(#(#rows)* #(#groups)* #(#queries)*)
}

/// Sealing one row, and many.
fn seal(model: &Model<'_>, generics: &Generics, form: Form) -> TokenStream {
    let (vis, sealed_struct, arguments) = (model.vis, names::sealed_struct(model.ident), &generics.arguments);
    let Keys {
        name: keys,
        ty: keys_type,
        ..
    } = Keys::of(model);
    let (keyword, wait, suffix) = (form.keyword(), form.wait(), form.suffix());
    let (one, many) = (format_ident!("seal{suffix}"), format_ident!("seal_batch{suffix}"));
    let more = form.doc(&model.indexes.iter().collect::<Vec<_>>());
    let (doc, doc_of_many) = (
        format!("Seals the row. {NOT_SEALED}{more}"),
        format!(
            "Seals many rows, with few requests to the operating system for randomness. {NOT_SEALED}{more}"
        ),
    );
    quote! {
        #[doc = #doc]
        #vis #keyword fn #one(&self, #keys: &#keys_type) -> __Sealing<#sealed_struct #arguments> {
            __p::#one(self, #keys) #wait
        }
        #[doc = #doc_of_many]
        #vis #keyword fn #many(
            rows: &[Self],
            #keys: &#keys_type,
        ) -> __Sealing<__p::Vec<#sealed_struct #arguments>> {
            __p::#many(rows, #keys) #wait
        }
    }
}

/// When sealing fails.
const NOT_SEALED: &str =
    "Fails when a value cannot be sealed or indexed, or a key is missing; then nothing is sealed.";

/// Opening whole rows.
pub(super) fn of_sealed(model: &Model<'_>, generics: &Generics) -> TokenStream {
    let (vis, ident, arguments) = (model.vis, model.ident, &generics.arguments);
    let Keys {
        name: keys,
        ty: keys_type,
        ..
    } = Keys::of(model);
    quote! {
        /// Opens the row. Fails when a token was not sealed for this place, or its key is missing.
        #vis fn open(self, #keys: &#keys_type) -> __Opening<#ident #arguments> {
            __p::open(self, #keys)
        }
        /// As `open`; says when a compromised key was involved: whoever has it can have made the row.
        #vis fn open_reported(self, #keys: &#keys_type) -> __Opening<__p::Reported<#ident #arguments>> {
            __p::ReadModel::open_reported(self, #keys)
        }
        /// Opens many rows. Fails when one of them does not open.
        #vis fn open_batch(rows: __p::Vec<Self>, #keys: &#keys_type) -> __Opening<__p::Vec<#ident #arguments>> {
            __p::open_batch(rows, #keys)
        }
    }
}

/// Seals one field, or fields that share a compound index, of a row that exists.
fn seal_group(model: &Model<'_>, group: &names::Group<'_, '_>, form: Form) -> TokenStream {
    let (vis, method, keyword) = (model.vis, group.method(form), form.keyword());
    let Keys {
        name: keys,
        ty: keys_type,
        ..
    } = Keys::of(model);
    let (parameter, row) = binding_parameter(model);
    let row_type = binding::of_type(model);
    if let [field] = group.fields.as_slice() {
        let (ident, ty, wait) = (field.ident, field.ty, form.wait());
        let (returned, call) = alone(field, group.indexes.first().copied(), &row, form);
        let more = literal(form.doc(&group.indexes));
        return quote_spanned! {Span::mixed_site()=>
            ::phield::__seal_field!(
                #vis [#keyword] #method(#keys: #keys_type, [#parameter] #ident: #ty) -> #returned = #call [#wait] #more
            );
        };
    }
    let idents: Vec<_> = group.fields.iter().map(|field| field.ident).collect();
    let types = group.fields.iter().map(|field| field.ty);
    let parameter = (!parameter.is_empty()).then(|| quote!(#row: &#row_type,));
    let doc = format!(
        "Seals {} of a row, for an `UPDATE` of exactly the columns returned. {NOT_SEALED}{}",
        group.listed(),
        form.doc(&group.indexes)
    );
    let (returned, body) = together(model, group, &row, form);
    quote_spanned! {Span::mixed_site()=>
        #[doc = #doc]
        #vis #keyword fn #method(
            #keys: &#keys_type,
            #parameter
            #(#idents: &#types,)*
        ) -> __Sealing<#returned> {
            #body
        }
    }
}

/// One field, with its index if it has one: what comes of it, and by which call.
fn alone(
    field: &Sealed<'_>,
    index: Option<&Index<'_>>,
    row: &TokenStream,
    form: Form,
) -> (TokenStream, TokenStream) {
    let p = quote!(__p);
    let (constant, stored) = (names::column_constant(field), columns::stored_type(field, &p));
    let Some(index) = index else {
        return (stored, quote!(seal_one(#row, #constant)));
    };
    let (index_type, index_constant) = (columns::index_type(index, &p), names::index_constant(index));
    let function = format_ident!("seal_indexed{}", form.suffix());
    (
        quote!((#stored, #index_type)),
        quote!(#function(#row, #constant, #index_constant)),
    )
}

/// The fields of a compound index: what comes of them, and how.
fn together(
    model: &Model<'_>,
    group: &names::Group<'_, '_>,
    row: &TokenStream,
    form: Form,
) -> (TokenStream, TokenStream) {
    let Keys { name: keys, ring, .. } = Keys::of(model);
    let arguments = generics::arguments_of_group(model, group);
    let name = group.sealed_struct(model.ident);
    let idents: Vec<_> = group.fields.iter().map(|field| field.ident).collect();
    let constants = group.fields.iter().map(|field| names::column_constant(field));
    let index_fields = group.indexes.iter().map(|index| names::index_field(index));
    let index_names: Vec<_> = (0..group.indexes.len())
        .map(|i| format_ident!("index_{i}", span = Span::mixed_site()))
        .collect();
    // Indexes first: what is awaited holds no tokens.
    let indexes = group
        .indexes
        .iter()
        .map(|index| index_value(index, &ring, row, form));
    (
        quote!(#name #arguments),
        quote_spanned! {Span::mixed_site()=>
            #(let #index_names = #indexes;)*
            let fields = [#(__p::field(#idents, Self::#constants)?),*];
            let mut sealed = __p::seal_group(#keys, &<Self as __p::ReadModel>::TABLE, #row, fields)?;
            __p::Result::Ok(#name { #(#idents: sealed.token()?,)* #(#index_fields: #index_names,)* })
        },
    )
}

/// The parameter that says which row a field is of, and what it is bound to.
fn binding_parameter(model: &Model<'_>) -> (TokenStream, TokenStream) {
    let binding_type = binding::of_type(model);
    let binding = &model.binding;
    let name = match (binding.row_id.is_empty(), &binding.tenant, &binding.subject) {
        (true, None, None) => {
            return (TokenStream::new(), quote!(&__p::Unbound));
        }
        (false, None, None) => "row_id",
        (_, _, _) => "row",
    };
    let name = Ident::new(name, Span::mixed_site());
    (quote!(#name: #binding_type), quote!(#name))
}

/// The value of an index whose parts are parameters.
fn index_value(index: &Index<'_>, ring: &TokenStream, row: &TokenStream, form: Form) -> TokenStream {
    // What needs no waiting is computed at once, in both forms.
    let form = if index.is_awaited() { form } else { Form::Blocking };
    let (function, wait) = (format_ident!("index_column{}", form.suffix()), form.wait());
    let (constant, parts) = (
        names::index_constant(index),
        columns::parts(index, |field| quote!(#field)),
    );
    quote!(__p::#function(#ring, &Self::#constant, #row, &[#(#parts),*]) #wait?)
}

/// The values to search an index for.
fn query(model: &Model<'_>, index: &Index<'_>, form: Form) -> TokenStream {
    let (vis, method, constant) = (
        index.vis,
        names::query_method(index, form),
        names::index_constant(index),
    );
    let tenant = binding::tenant_of(model);
    let place = if tenant.is_empty() { "" } else { "_in" };
    let function = format_ident!("query{place}{}", form.suffix());
    let (keyword, wait) = (form.keyword(), form.wait());
    let idents: Vec<_> = index.parts.iter().map(|part| part.field).collect();
    let types = values(model, index);
    let more = literal(&format!("{}{}", truncated(index), form.doc(&[index])));
    let name = &index.name;
    quote! {
        ::phield::__index_query!(
            #vis [#keyword] #method([#tenant] #(#idents: #types),*) = #function(#constant, #name) [#wait] #more
        );
    }
}

/// More text for the docs of a method, if there is any.
pub(super) fn literal(text: &str) -> Option<Literal> {
    (!text.is_empty()).then(|| Literal::string(text))
}

/// What a query over a truncated index has to know.
fn truncated(index: &Index<'_>) -> String {
    let bits = index.options.bits;
    if bits == 256 {
        return String::new();
    }
    format!(
        "\n\nThe index keeps {bits} bits: other values have these index values, too. Open what is found, and compare, as \
         the finder does; limit afterwards."
    )
}

/// The types of the values of an index's parts.
pub(super) fn values(model: &Model<'_>, index: &Index<'_>) -> Vec<TokenStream> {
    let field = |name: &Ident| model.sealed().find(|field| field.ident == name);
    index
        .parts
        .iter()
        .filter_map(|part| field(part.field))
        .map(|field| columns::value_type(field, &quote!(__p)))
        .collect()
}
