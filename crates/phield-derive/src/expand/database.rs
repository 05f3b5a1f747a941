//! What a database needs: reading rows, binding them, finding them. Dropped by the facade without a database feature.

use std::collections::BTreeSet;

use proc_macro2::{Ident, Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::Index as Position;

use super::binding::{self, Keys};
use super::columns::{self, Column};
use super::form::Form;
use super::generics::Generics;
use super::names;
use crate::valid::{Bound, Index, Model, Role};

/// Everything that names sqlx.
pub(super) fn expand(model: &Model<'_>, generics: &Generics) -> TokenStream {
    let code = match model.role {
        Role::Table => {
            let (rows, written) = (rows(model, generics), written(model, generics));
            let finders = finders(model, generics);
            quote!(#rows #written #finders)
        }
        Role::Part(_) => {
            let (rows, finders) = (rows(model, generics), finders(model, generics));
            quote!(#rows #finders)
        }
        Role::Embedded => part(model),
    };
    quote!(::phield::__with_sqlx! { #code })
}

/// One bound for each type of `columns`.
fn each_type<'c>(
    columns: impl IntoIterator<Item = &'c Column<'c, 'c>>,
    known: &TokenStream,
    flattened: &TokenStream,
) -> Vec<TokenStream> {
    let mut seen = BTreeSet::new();
    let mut bounds = Vec::new();
    for column in columns {
        let ty = column.ty(&quote!(__p));
        let bound = if matches!(column, Column::Flat(_)) {
            flattened
        } else {
            known
        };
        if seen.insert(ty.to_string()) {
            bounds.push(quote!(#ty: #bound));
        }
    }
    bounds
}

/// Columns from a row of any database.
fn rows(model: &Model<'_>, generics: &Generics) -> TokenStream {
    let (sealed_struct, arguments) = (names::sealed_struct(model.ident), &generics.arguments);
    let list = columns::list(model);
    let parameters = generics.parameters(&quote!('__r, __R));
    let mut bounds = vec![quote!(__R: __p::sqlx::NamedRow)];
    bounds.extend(each_type(
        &list,
        &quote!(__p::sqlx::ReadColumn<'__r, __R::Database>),
        &quote!(__p::sqlx::FromPart<'__r, __R>),
    ));
    let bounds = generics.bounds(&bounds);
    let table = sql_table(model);
    let fields = list.iter().map(|column| {
        let ident = column.ident();
        match column {
            Column::Flat(_) => quote!(#ident: __p::sqlx::FromPart::from_part(columns)?),
            _ => quote!(#ident: columns.read()?),
        }
    });
    let sealed_row = sealed_row(model, generics, &list, &table);
    quote! {
        #[automatically_derived]
        impl #parameters __p::sqlx::FromRow<'__r, __R> for #sealed_struct #arguments #bounds {
            fn from_row(row: &'__r __R) -> __p::Result<Self, __p::sqlx::SqlxError> {
                let columns = &mut __p::sqlx::columns::<Self, __R>(row);
                __p::Result::Ok(Self { #(#fields,)* })
            }
        }
        #sealed_row
    }
}

/// The name of the table in SQL.
fn sql_table(model: &Model<'_>) -> TokenStream {
    match model.role {
        Role::Part(path) => quote!(<#path>::SCHEMA.sql_table),
        Role::Table | Role::Embedded => {
            let table = &model.sql_table;
            quote!(#table)
        }
    }
}

/// What the columns are called.
fn sealed_row(
    model: &Model<'_>,
    generics: &Generics,
    list: &[Column<'_, '_>],
    table: &TokenStream,
) -> TokenStream {
    let (sealed_struct, arguments) = (names::sealed_struct(model.ident), &generics.arguments);
    let (parameters, bounds) = (generics.parameters(&TokenStream::new()), generics.bounds(&[]));
    let generated = list.iter().filter(|column| column.is_generated());
    let generated = generated.filter_map(Column::sql_name);
    let key = model.binding.key().map(|column| &column.sql_name);
    let tenant = model.binding.tenant.as_ref().map(|tenant| {
        let column = &tenant.sql_name;
        quote!(const TENANT: __p::Option<&'static str> = __p::Option::Some(#column);)
    });
    quote! {
        #[automatically_derived]
        impl #parameters __p::sqlx::SealedRow for #sealed_struct #arguments #bounds {
            const TABLE: &'static str = #table;
            const COLUMNS: &'static [&'static str] = Self::COLUMNS;
            const KEY: &'static [&'static str] = &[#(#key),*];
            #tenant
            const GENERATED: &'static [&'static str] = &[#(#generated),*];
        }
    }
}

/// Columns to bind.
fn written(model: &Model<'_>, generics: &Generics) -> TokenStream {
    let (sealed_struct, arguments) = (names::sealed_struct(model.ident), &generics.arguments);
    let list = columns::list(model);
    let written: Vec<_> = list.iter().filter(|column| !column.is_generated()).collect();
    let mut bounds = vec![quote!(__DB: __p::sqlx::Database)];
    bounds.extend(each_type(
        written.iter().copied(),
        &quote!(__p::sqlx::BindColumn<__DB>),
        &quote!(__p::sqlx::BindPart<__DB>),
    ));
    let (parameters, bounds) = (generics.parameters(&quote!(__DB)), generics.bounds(&bounds));
    let values = written.iter().map(|column| {
        let ident = column.ident();
        match column {
            Column::Flat(_) => quote!(__p::sqlx::BindPart::bind_part(&self.#ident, values);),
            _ => quote!(values.bind(&self.#ident);),
        }
    });
    quote! {
        #[automatically_derived]
        impl #parameters __p::sqlx::BindRow<__DB> for #sealed_struct #arguments #bounds {
            fn bind_row(&self, values: &mut __p::sqlx::Values<'_, __DB>) {
                #(#values)*
            }
        }
    }
}

/// The columns of an embedded struct, in the rows of a model.
fn part(model: &Model<'_>) -> TokenStream {
    let sealed_struct = names::sealed_struct(model.ident);
    let list = columns::list(model);
    let read = each_type(
        &list,
        &quote!(__p::sqlx::ReadColumn<'__r, __R::Database>),
        &TokenStream::new(),
    );
    let bound = each_type(&list, &quote!(__p::sqlx::BindColumn<__DB>), &TokenStream::new());
    let idents: Vec<_> = list.iter().map(Column::ident).collect();
    quote! {
        #[automatically_derived]
        impl<'__r, __R> __p::sqlx::FromPart<'__r, __R> for #sealed_struct
        where
            __R: __p::sqlx::NamedRow,
            #(#read,)*
        {
            fn from_part(
                columns: &mut __p::sqlx::Columns<'__r, __R>,
            ) -> __p::Result<Self, __p::sqlx::SqlxError> {
                __p::Result::Ok(Self { #(#idents: columns.read()?,)* })
            }
        }
        #[automatically_derived]
        impl<__DB> __p::sqlx::BindPart<__DB> for #sealed_struct
        where
            __DB: __p::sqlx::Database,
            #(#bound,)*
        {
            fn bind_part(&self, values: &mut __p::sqlx::Values<'_, __DB>) {
                #(values.bind(&self.#idents);)*
            }
        }
    }
}

/// `fetch`, and a finder for each index.
fn finders(model: &Model<'_>, generics: &Generics) -> TokenStream {
    let (ident, arguments) = (model.ident, &generics.arguments);
    let (parameters, bounds) = (generics.parameters(&TokenStream::new()), generics.bounds(&[]));
    let fetch = fetch(model, generics);
    let finders = model.indexes.iter().map(|index| finder(model, generics, index));
    quote! {
        #[automatically_derived]
        impl #parameters #ident #arguments #bounds {
            #fetch
            #(#finders)*
        }
    }
}

/// What every finder asks of its executor, and of the types of the columns that it binds.
fn bounds<'b>(
    model: &Model<'_>,
    generics: &Generics,
    bound: impl IntoIterator<Item = &'b Bound<'b>>,
) -> TokenStream {
    let (sealed_struct, arguments) = (names::sealed_struct(model.ident), &generics.arguments);
    let mut seen = BTreeSet::new();
    let types = bound
        .into_iter()
        .map(|Bound { ty, .. }| quote!(#ty: __p::sqlx::BindColumn<__E::Database>,))
        .filter(|bound| seen.insert(bound.to_string()));
    quote! {
        __E: __p::sqlx::Executor<'__c, Database: __p::sqlx::Backend>,
        #sealed_struct #arguments: __p::sqlx::ReadRow<__E::Database>,
        #(#types)*
    }
}

fn fetch(model: &Model<'_>, generics: &Generics) -> TokenStream {
    let Some(row_id_type) = binding::row_id_type(model) else {
        return TokenStream::new();
    };
    let bounds = bounds(model, generics, model.binding.key());
    let (vis, row_id, row) = (
        model.vis,
        Ident::new("row_id", Span::mixed_site()),
        Ident::new("row", Span::mixed_site()),
    );
    let tenant = binding::tenant_parameter(model);
    let (conditions, same) = key(model, &row_id, &row);
    let Keys {
        name: keys,
        ty: keys_type,
        ..
    } = Keys::of(model);
    quote! {
        /// Reads and opens the row with this id, if it is there. A row that the database takes for it, but whose id is
        /// another one (a collation that ignores case, a view), is not returned. Fails when the database does, or the row
        /// does not open.
        #vis async fn fetch<'__c, __E>(
            executor: __E,
            #keys: &#keys_type,
            #tenant
            #row_id: &#row_id_type,
        ) -> __p::Result<__p::Option<Self>, __p::sqlx::Error>
        where
            #bounds
        {
            let same = |#row: &Self| #same;
            __p::sqlx::fetch(executor, #keys, |key| key #(#conditions)*, same).await
        }
    }
}

/// How the row with this tenant and row id is asked for, and whether a row is that one.
fn key(model: &Model<'_>, row_id: &Ident, row: &Ident) -> (Vec<TokenStream>, TokenStream) {
    let parts = model.binding.row_id.as_slice();
    let (mut conditions, mut same) = (Vec::new(), Vec::new());
    if let Some(Bound { ident, sql_name, .. }) = &model.binding.tenant {
        let tenant = binding::tenant();
        conditions.push(quote!(.equal(#sql_name, #tenant)));
        same.push(quote!(__p::same_tenant(&#row.#ident, #tenant)));
    }
    for (position, part) in parts.iter().enumerate() {
        let (sql_name, position) = (&part.sql_name, Position::from(position));
        let value = if parts.len() == 1 {
            quote!(#row_id)
        } else {
            quote!(&#row_id.#position)
        };
        conditions.push(quote!(.equal(#sql_name, #value)));
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
    same.push(quote!(__p::same_row_id(#of_row, #row_id)));
    (conditions, quote!(#(#same)&&*))
}

fn finder(model: &Model<'_>, generics: &Generics, index: &Index<'_>) -> TokenStream {
    let (vis, method, constant) = (index.vis, names::finder(index), names::index_constant(index));
    let bounds = bounds(model, generics, &model.binding.tenant);
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
    let types = super::methods::values(model, index);
    let parameter = binding::tenant_parameter(model);
    let (tenant, function) = match &model.binding.tenant {
        Some(_) => {
            let tenant = binding::tenant();
            (quote!(#tenant,), quote!(find_in))
        }
        None => (TokenStream::new(), quote!(find)),
    };
    let doc = found(model, index);
    quote_spanned! {Span::mixed_site()=>
        #[doc = #doc]
        #vis async fn #method<'__c, __E>(
            executor: __E,
            #keys: &#keys_type,
            #parameter
            #(#idents: &(impl __p::IndexValue<#types> + __p::Sync + ?__p::Sized),)*
        ) -> __p::Result<__p::Vec<Self>, __p::sqlx::Error>
        where
            #bounds
        {
            let slots = Self::#query(#ring, #tenant #(#idents),*) #wait?;
            let search = (&Self::#constant, slots, [#(__p::searched(#idents)?),*]);
            __p::sqlx::#function(executor, #keys, #tenant search).await
        }
    }
}

/// What a finder does.
fn found(model: &Model<'_>, index: &Index<'_>) -> String {
    let fields: Vec<_> = index
        .parts
        .iter()
        .map(|part| format!("`{}`", part.field))
        .collect();
    format!(
        "Finds rows by {}: candidates by the index `{}`, opened and compared. Fails when the database does, a value is \
         absent, a pepper is missing, or a row does not open.{}",
        fields.join(" and "),
        index.name,
        of_many_subjects(model)
    )
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
