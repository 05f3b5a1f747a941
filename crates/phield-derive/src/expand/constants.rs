//! The constants of a model: the schema, column handles, index definitions.

use proc_macro2::{Literal, Span, TokenStream};
use quote::{ToTokens as _, quote, quote_spanned};

use super::columns::{self, Column};
use super::generics::Generics;
use super::{binding, checks, flat, names};
use crate::sql;
use crate::valid::{Algorithm, Bound, Index, Model, Padding, Plain, Role, Sealed};

/// `SCHEMA`, column handles, index definitions.
pub(super) fn of_model(model: &Model<'_>) -> TokenStream {
    let (vis, table, sql_table) = (model.vis, &model.table, &model.sql_table);
    let bound = bound_columns(model);
    let row_id = model.binding.row_id.iter().map(|part| &part.sql_name);
    let handles = model.sealed().map(|field| handle(model, field));
    let indexes = model.indexes.iter().map(|each| index(model, each));
    quote! {
        /// The table: its columns, and its blind indexes.
        #vis const SCHEMA: __p::Schema =
            __p::schema::<Self>(#table, #sql_table, &[#(#row_id),*]) #bound;
        #(#handles)*
        #(#indexes)*
    }
}

/// The handle of a column; a part has the one of its model, so that they cannot disagree.
pub(super) fn handle(model: &Model<'_>, field: &Sealed<'_>) -> TokenStream {
    let (vis, name, column) = (field.vis, names::column_constant(field), &field.column);
    let ty = binding::of_column(model, &columns::value_type(field, &quote!(__p)));
    let handle = match model.role {
        Role::Part(path) => {
            let span = Span::call_site().located_at(field.ident.span());
            quote_spanned!(span=> <#path>::#name)
        }
        Role::Table | Role::Embedded => match checks::one_length(field) {
            Some(check) => quote!({ #check; Self::SCHEMA.column(#column) }),
            None => quote!(Self::SCHEMA.column(#column)),
        },
    };
    let doc = format!(
        "The sealed column of `{}`: opens it without the rest of its row.",
        field.ident
    );
    quote! {
        #[doc = #doc]
        #vis const #name: #ty = #handle;
    }
}

fn index(model: &Model<'_>, index: &Index<'_>) -> TokenStream {
    let (vis, constant, name) = (index.vis, names::index_constant(index), &index.name);
    let doc = format!("The definition of the blind index `{name}`.");
    let mut checks = checks::of_index(model, index).peekable();
    let index = if checks.peek().is_some() {
        quote!({ #(#checks;)* Self::SCHEMA.index(#name) })
    } else {
        quote!(Self::SCHEMA.index(#name))
    };
    quote! {
        #[doc = #doc]
        #vis const #constant: __p::Index = #index;
    }
}

/// What binds a row, in a schema.
pub(super) fn binding(model: &Model<'_>) -> TokenStream {
    let row_id: Vec<_> = model.binding.row_id.iter().map(|part| &part.sql_name).collect();
    if row_id.is_empty() {
        quote!(__p::Binding::Unbound)
    } else {
        quote!(__p::Binding::RowId(&[#(#row_id),*]))
    }
}

/// What sets the columns that are bound beside the row id.
pub(super) fn bound_columns(model: &Model<'_>) -> TokenStream {
    let binding = &model.binding;
    let subject = if binding.subject_keys {
        quote!(under_subject_key)
    } else {
        quote!(of_subject)
    };
    let set = |bound: &Option<Bound<'_>>, method: &TokenStream| {
        bound
            .as_ref()
            .map(|Bound { sql_name, .. }| quote!(.#method(#sql_name)))
    };
    [
        set(&binding.tenant, &quote!(in_tenant)),
        set(&binding.subject, &subject),
        set(&binding.extra, &quote!(with_extra)),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// `COLUMNS` of a model or an embedded struct.
pub(super) fn columns(model: &Model<'_>) -> TokenStream {
    let columns = if model.flat().next().is_some() {
        let count = flat::count(model);
        let lists = flat::lists(model, column, |flat| quote!(#flat));
        quote!(&__p::concat_columns::<#count>(#lists))
    } else {
        let columns = columns::list(model);
        let columns = columns.iter().map(column);
        quote!(&[#(#columns),*])
    };
    quote!(const COLUMNS: &'static [__p::ColumnSchema] = #columns;)
}

fn column(column: &Column<'_, '_>) -> TokenStream {
    match column {
        Column::Plain(plain) => plain_column(plain),
        Column::Sealed(sealed) => sealed_column(sealed),
        Column::Index(index) => {
            let (sql_name, name, optional) = (&index.sql_name, &index.name, index.optional);
            quote!(__p::ColumnSchema::index(#sql_name, #name, #optional))
        }
        Column::Flat(_) => TokenStream::new(),
    }
}

fn plain_column(field: &Plain<'_>) -> TokenStream {
    let (sql_name, rust_type) = (
        &field.sql_name,
        field.ty.to_token_stream().to_string().replace(' ', ""),
    );
    let typed = field.sql_type.iter().map(|written| quote!(.typed(#written)));
    let generated = field.generated.then(|| quote!(.generated()));
    quote!(__p::ColumnSchema::plain(#sql_name, #rust_type) #(#typed)* #generated)
}

fn sealed_column(field: &Sealed<'_>) -> TokenStream {
    let (ty, column, sql_name) = (field.ty, &field.column, &field.sql_name);
    let named = (column != sql_name).then(|| quote!(.named(#sql_name)));
    let padding = padding(field);
    let padded = (!matches!(field.padding, Padding::Block16)).then(|| quote!(.padded(#padding)));
    let text = field.text.then(|| quote!(.in_text()));
    let at_most = field.max_len.map(|bytes| quote!(.at_most(#bytes)));
    quote!(__p::ColumnSchema::sealed::<#ty>(#column) #named #padded #text #at_most)
}

/// How a column is padded.
pub(super) fn padding(field: &Sealed<'_>) -> TokenStream {
    match field.padding {
        Padding::Block16 => quote!(__p::Padding::Block16),
        Padding::Fixed(n) => quote!(__p::Padding::Fixed(#n)),
        Padding::Padme(n) => quote!(__p::Padding::Padme(#n)),
        Padding::None => quote!(__p::Padding::None),
    }
}

/// `INDEXES` of a model.
pub(super) fn indexes(model: &Model<'_>) -> TokenStream {
    let indexes = model.indexes.iter().map(index_schema);
    quote!(const INDEXES: &'static [__p::IndexSchema] = &[#(#indexes),*];)
}

fn index_schema(index: &Index<'_>) -> TokenStream {
    let (name, sql_name, bits) = (&index.name, &index.sql_name, index.options.bits);
    let columns = index.parts.iter().map(|part| &part.column);
    let normalizers = index.parts.iter().map(|part| part.normalizer.variant());
    let named = (name != sql_name).then(|| quote!(.named(#sql_name)));
    let truncated = (bits != 256).then(|| quote!(.truncated(#bits)));
    let algorithm = algorithm(index.options.algorithm);
    let unique = index.options.unique.then(|| quote!(.unique()));
    quote! {
        __p::IndexSchema::over(#name, &[#(#columns),*], &[#(__p::Normalizer::#normalizers),*])
            #named #truncated #algorithm #unique
    }
}

/// What sets the algorithm of an index, if it is not the default.
fn algorithm(algorithm: Algorithm) -> TokenStream {
    let made = match algorithm {
        Algorithm::HmacSha256 => return TokenStream::new(),
        Algorithm::Argon2id {
            memory_kib,
            passes,
            lanes,
        } => quote!(argon2id(#memory_kib, #passes, #lanes)),
        Algorithm::Pbkdf2 { iterations } => quote!(pbkdf2(#iterations)),
        Algorithm::DeviceHmacSha256 => quote!(DeviceHmacSha256),
    };
    quote!(.with_algorithm(__p::IndexAlgorithm::#made))
}

/// The names of the columns in SQL: as a list, and as text.
pub(super) fn of_columns(model: &Model<'_>, names: (TokenStream, TokenStream)) -> TokenStream {
    let (vis, (columns, list)) = (model.vis, names);
    quote! {
        /// The names of the columns in SQL, in the order of the fields.
        #vis const COLUMNS: &'static [&'static str] = #columns;
        /// The columns for a `SELECT` or `INSERT`: separated by commas, quoted where SQL reserves the word
            /// (MariaDB and MySQL: `phield::sqlx::column_list`).
        #vis const COLUMN_LIST: &'static str = #list;
    }
}

/// [`of_columns`] where the derive knows them all.
pub(super) fn known_names(model: &Model<'_>, generics: &Generics) -> (TokenStream, TokenStream) {
    let columns = columns::list(model);
    let names: Vec<_> = columns.iter().filter_map(Column::sql_name).collect();
    let list = names
        .iter()
        .map(|name| sql::identifier(name))
        .collect::<Vec<_>>()
        .join(", ");
    // A part has no list of columns that says the same.
    let listed = match model.role {
        Role::Table => {
            let (ident, arguments, count) = (
                model.ident,
                &generics.arguments,
                Literal::usize_unsuffixed(names.len()),
            );
            quote!(&__p::names_of::<#count>(<#ident #arguments>::SCHEMA.columns))
        }
        Role::Part(_) | Role::Embedded => quote!(&[#(#names),*]),
    };
    (listed, quote!(#list))
}
