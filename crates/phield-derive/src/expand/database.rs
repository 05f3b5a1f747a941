//! What a database needs: reading rows, binding them, finding them. Dropped by the facade without a database feature.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::ext::IdentExt as _;

use super::binding::Keys;
use super::form::Form;
use super::{columns, methods, names};
use crate::valid::{Binding, Index, Model};

/// Everything that names sqlx.
pub(super) fn expand(model: &Model<'_>) -> TokenStream {
    let (rows, finders) = (rows(model), finders(model));
    quote! {
        ::phield::__with_sqlx! {
            #rows
            #finders
        }
    }
}

/// Columns from a row of any database, and columns to bind.
fn rows(model: &Model<'_>) -> TokenStream {
    let (sealed_struct, table) = (names::sealed_struct(model.ident), &model.table);
    let (idents, types): (Vec<_>, Vec<_>) = columns::typed(model).into_iter().unzip();
    let sql_names = idents.iter().map(|ident| ident.unraw().to_string());
    let key = match model.binding {
        Binding::RowId { ident, .. } => vec![ident.unraw().to_string()],
        _ => Vec::new(),
    };
    quote! {
        #[automatically_derived]
        impl<'r, R> ::phield::__private::sqlx::FromRow<'r, R> for #sealed_struct
        where
            R: ::phield::__private::sqlx::Row,
            &'static str: ::phield::__private::sqlx::ColumnIndex<R>,
            #(#types: ::phield::__private::sqlx::Decode<'r, R::Database>
                + ::phield::__private::sqlx::Type<R::Database>,)*
        {
            fn from_row(row: &'r R) -> ::core::result::Result<Self, ::phield::__private::sqlx::SqlxError> {
                ::core::result::Result::Ok(Self {
                    #(#idents: ::phield::__private::sqlx::Row::try_get(row, #sql_names)?,)*
                })
            }
        }

        #[automatically_derived]
        impl ::phield::__private::sqlx::SealedRow for #sealed_struct {
            const TABLE: &'static str = #table;
            const COLUMNS: &'static [&'static str] = #sealed_struct::COLUMNS;
            const KEY: &'static [&'static str] = &[#(#key),*];
        }

        #[automatically_derived]
        impl<DB> ::phield::__private::sqlx::BindRow<DB> for #sealed_struct
        where
            DB: ::phield::__private::sqlx::Database,
            #(#types: ::phield::__private::sqlx::BindColumn<DB>,)*
        {
            fn bind_row(&self, values: &mut ::phield::__private::sqlx::Values<'_, DB>) {
                #(values.bind(&self.#idents);)*
            }
        }
    }
}

/// `fetch`, and a finder for each index.
fn finders(model: &Model<'_>) -> TokenStream {
    let ident = model.ident;
    let fetch = fetch(model);
    let finders = model.indexes.iter().map(|index| finder(model, index));
    quote! {
        #[automatically_derived]
        #[allow(dead_code)]
        impl #ident {
            #fetch
            #(#finders)*
        }
    }
}

/// What every finder asks of its executor.
fn bounds(model: &Model<'_>) -> TokenStream {
    let sealed_struct = names::sealed_struct(model.ident);
    quote! {
        E: ::phield::__private::sqlx::Executor<'c>,
        E::Database: ::phield::__private::sqlx::Backend,
        #sealed_struct: for<'r> ::phield::__private::sqlx::FromRow<
            'r,
            <E::Database as ::phield::__private::sqlx::Database>::Row,
        >,
    }
}

fn fetch(model: &Model<'_>) -> TokenStream {
    let Binding::RowId { ident, ty } = model.binding else {
        return TokenStream::new();
    };
    let (vis, name, bounds) = (model.vis, ident.unraw().to_string(), bounds(model));
    let Keys {
        name: keys,
        ty: keys_type,
        ..
    } = Keys::of(model);
    quote! {
        /// Reads and opens the row with this id, if it is there. A row that the database takes for it, but whose id is
        /// another one (a collation that ignores case, a view), is not returned.
        ///
        /// # Errors
        /// When the database fails, or the row does not open.
        #vis async fn fetch<'c, E>(
            executor: E,
            #keys: &#keys_type,
            row_id: &#ty,
        ) -> ::core::result::Result<::core::option::Option<Self>, ::phield::__private::sqlx::Error>
        where
            #bounds
            #ty: ::phield::__private::sqlx::BindColumn<E::Database>,
        {
            let found: ::core::option::Option<Self> =
                ::phield::__private::sqlx::fetch(executor, #keys, #name, row_id).await?;
            ::core::result::Result::Ok(found.filter(|row| ::phield::__private::same_row_id(&row.#ident, row_id)))
        }
    }
}

fn finder(model: &Model<'_>, index: &Index<'_>) -> TokenStream {
    let (vis, method, constant) = (index.vis, names::finder(index), names::index_constant(index));
    let (sql_name, bounds) = (index.sql_name(), bounds(model));
    let form = if index.is_awaited() {
        Form::Async
    } else {
        Form::Blocking
    };
    let (query, wait) = (names::query_method(index, form), form.wait());
    let Keys {
        name: keys,
        ty: keys_type,
        ring,
        ..
    } = Keys::of(model);
    let idents: Vec<_> = index.parts.iter().map(|part| part.field).collect();
    let types = methods::values(model, index);
    let row = Ident::new("row", Span::mixed_site());
    let parts = columns::parts(index, |field| quote!(&#row.#field));
    let listed = idents
        .iter()
        .map(|field| format!("`{field}`"))
        .collect::<Vec<_>>()
        .join(" and ");
    let doc = format!(
        "Finds rows by {listed}: candidates by the index `{}`, opened and compared.{}",
        index.name,
        of_many_subjects(model)
    );
    quote_spanned! {Span::mixed_site()=>
        #[doc = #doc]
        ///
        /// # Errors
        /// When the database fails, a value is absent, a pepper is missing, or a row does not open.
        #vis async fn #method<'c, E>(
            executor: E,
            #keys: &#keys_type,
            #(#idents: &(impl ::phield::__private::IndexValue<#types> + ::core::marker::Sync + ?::core::marker::Sized),)*
        ) -> ::core::result::Result<::std::vec::Vec<Self>, ::phield::__private::sqlx::Error>
        where
            #bounds
        {
            let slots = Self::#query(#ring, #(#idents),*) #wait?;
            let same = |#row: &Self| {
                Self::#constant.same_value(&[#(#parts),*], &[
                    #(::core::option::Option::Some(::phield::__private::IndexValue::<#types>::encode_part(#idents)?)),*
                ])
            };
            ::phield::__private::sqlx::find(executor, #keys, #sql_name, slots, same).await
        }
    }
}

/// What a finder has to say about rows of several subjects, each under a key of its own.
fn of_many_subjects(model: &Model<'_>) -> String {
    match model.subject {
        Some(subject) if subject.has_key => format!(
            "\n\nEvery candidate is opened. If the key of one row's subject was not loaded, or the subject was shredded, \
             the error of that row is returned, and no other row: ask for the column `{}` of the candidates first, load \
             those keys, and delete the index values of whom you shred.",
            subject.ident.unraw()
        ),
        _ => String::new(),
    }
}
