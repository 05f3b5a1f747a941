//! What a database needs: reading rows, binding them, finding them. Dropped by the facade without a database feature.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::{Index as Position, Type};

use super::binding::{self, Keys, TenantParameter};
use super::columns::Column;
use super::form::Form;
use super::{columns, methods, names};
use crate::valid::{Bound, Index, Model};

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
    let (sealed_struct, table) = (names::sealed_struct(model.ident), &model.sql_table);
    let list = columns::list(model);
    let (written, generated): (Vec<_>, Vec<_>) = list.iter().partition(|column| !column.generated);
    let (idents, types) = parts_of(&list.iter().collect::<Vec<_>>());
    let sql_names = list.iter().map(|column| &column.sql_name);
    let generated = generated.iter().map(|column| &column.sql_name);
    let key = model.binding.key().map(|column| &column.sql_name);
    let (written, written_types) = parts_of(&written);
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
                    #(#idents: ::phield::__private::sqlx::column(row, #table, #sql_names)?,)*
                })
            }
        }

        #[automatically_derived]
        impl ::phield::__private::sqlx::SealedRow for #sealed_struct {
            const TABLE: &'static str = #table;
            const COLUMNS: &'static [&'static str] = #sealed_struct::COLUMNS;
            const KEY: &'static [&'static str] = &[#(#key),*];
            const GENERATED: &'static [&'static str] = &[#(#generated),*];
        }

        #[automatically_derived]
        impl<DB> ::phield::__private::sqlx::BindRow<DB> for #sealed_struct
        where
            DB: ::phield::__private::sqlx::Database,
            #(#written_types: ::phield::__private::sqlx::BindColumn<DB>,)*
        {
            fn bind_row(&self, values: &mut ::phield::__private::sqlx::Values<'_, DB>) {
                #(values.bind(&self.#written);)*
            }
        }
    }
}

fn parts_of<'c>(columns: &[&'c Column]) -> (Vec<&'c Ident>, Vec<&'c TokenStream>) {
    columns.iter().map(|column| (&column.ident, &column.ty)).unzip()
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
    let Some(row_id_type) = binding::row_id_type(model) else {
        return TokenStream::new();
    };
    let (vis, bounds) = (model.vis, bounds(model));
    let row_id = Ident::new("row_id", Span::mixed_site());
    let TenantParameter {
        parameter: tenant, ..
    } = TenantParameter::of(model);
    let row = Ident::new("row", Span::mixed_site());
    let (conditions, same, bound) = key(model, &row_id, &row);
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
            #tenant
            #row_id: &#row_id_type,
        ) -> ::core::result::Result<::core::option::Option<Self>, ::phield::__private::sqlx::Error>
        where
            #bounds
            #(#bound: ::phield::__private::sqlx::BindColumn<E::Database>,)*
        {
            let found: ::core::option::Option<Self> =
                ::phield::__private::sqlx::fetch(executor, #keys, |key| { #(#conditions)* }).await?;
            ::core::result::Result::Ok(found.filter(|#row| #same))
        }
    }
}

/// How the row with this tenant and row id is asked for, whether a row is that one, and the types to bind for it.
fn key<'a>(model: &Model<'a>, row_id: &Ident, row: &Ident) -> (Vec<TokenStream>, TokenStream, Vec<&'a Type>) {
    let parts = model.binding.row_id.as_slice();
    let (mut conditions, mut same) = (Vec::new(), Vec::new());
    if let Some((condition, same_tenant)) = of_tenant(model, row) {
        conditions.push(condition);
        same.push(same_tenant);
    }
    for (position, part) in parts.iter().enumerate() {
        let (sql_name, position) = (&part.sql_name, Position::from(position));
        let value = if parts.len() == 1 {
            quote!(#row_id)
        } else {
            quote!(&#row_id.#position)
        };
        conditions.push(quote!(key.equal(#sql_name, #value);));
    }
    let of_row = match parts {
        [part] => {
            let ident = part.ident;
            quote!(&#row.#ident)
        }
        _ => {
            let parts = binding::composite(model, &quote!(#row));
            quote!(&#parts)
        }
    };
    same.push(quote!(::phield::__private::same_row_id(#of_row, #row_id)));
    let types = model.binding.key().map(|bound| bound.ty).collect();
    (conditions, quote!(#(#same)&&*), types)
}

/// How rows of a tenant are asked for, and whether a row is one.
fn of_tenant(model: &Model<'_>, row: &Ident) -> Option<(TokenStream, TokenStream)> {
    let Bound { ident, sql_name, .. } = model.binding.tenant.as_ref()?;
    let tenant = binding::tenant();
    Some((
        quote!(key.equal(#sql_name, #tenant);),
        quote!(::phield::__private::same_tenant(&#row.#ident, #tenant)),
    ))
}

fn finder(model: &Model<'_>, index: &Index<'_>) -> TokenStream {
    let (vis, method, constant) = (index.vis, names::finder(index), names::index_constant(index));
    let (sql_name, bounds) = (&index.sql_name, bounds(model));
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
    let TenantParameter { parameter, .. } = TenantParameter::of(model);
    let (condition, same_tenant) = of_tenant(model, &row).unzip();
    let (key, same_tenant) = match condition {
        Some(_) => (
            quote!(key),
            quote!(if !#same_tenant { return ::core::result::Result::Ok(false); }),
        ),
        None => (quote!(_), TokenStream::new()),
    };
    let tenant = model.binding.tenant.iter().map(|_| binding::tenant());
    let tenant_type = model.binding.tenant.iter().map(|tenant| tenant.ty);
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
            #parameter
            #(#idents: &(impl ::phield::__private::IndexValue<#types> + ::core::marker::Sync + ?::core::marker::Sized),)*
        ) -> ::core::result::Result<::std::vec::Vec<Self>, ::phield::__private::sqlx::Error>
        where
            #bounds
            #(#tenant_type: ::phield::__private::sqlx::BindColumn<E::Database>,)*
        {
            let slots = Self::#query(#ring, #(#tenant,)* #(#idents),*) #wait?;
            let same = |#row: &Self| {
                #same_tenant
                Self::#constant.same_value(&[#(#parts),*], &[
                    #(::core::option::Option::Some(::phield::__private::IndexValue::<#types>::encode_part(#idents)?)),*
                ])
            };
            ::phield::__private::sqlx::find(executor, #keys, #sql_name, slots, |#key| { #condition }, same).await
        }
    }
}

/// What a finder has to say about rows of several subjects, each under a key of its own.
fn of_many_subjects(model: &Model<'_>) -> String {
    match &model.binding.subject {
        Some(subject) if model.binding.subject_keys => format!(
            "\n\nEvery candidate is opened. If the key of one row's subject was not loaded, or the subject was shredded, \
             the error of that row is returned, and no other row: ask for the column `{}` of the candidates first, load \
             those keys, and delete the index values of whom you shred.",
            subject.sql_name
        ),
        _ => String::new(),
    }
}
