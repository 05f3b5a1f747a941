//! The methods that the derive makes for every sealed field and every index: written once, here. The expansion of a model
//! calls these macros with names and types.

/// `Patient::seal_ssn(&keyring, &row, &ssn)`: one field, with its index if it has one.
#[doc(hidden)]
#[macro_export]
macro_rules! __seal_field {
    (
        $vis:vis [$($async:ident)?] $method:ident
        ($keys:ident: $Keys:ty, [$($row:ident: $Row:ty)?] $field:ident: $Type:ty) -> $Sealed:ty
        = $function:ident($place:expr, $column:ident $(, $index:ident)?) [$($wait:tt)*] $($more:literal)?
    ) => {
        #[doc = concat!(
            "Seals `", stringify!($field), "` of a row, for an `UPDATE` of exactly the columns returned. Fails when a \
             value cannot be sealed or indexed, or a key is missing; then nothing is sealed.", $($more)?
        )]
        $vis $($async)? fn $method(
            $keys: &$Keys,
            $($row: &$Row,)?
            $field: &$Type,
        ) -> $crate::__private::Result<$Sealed, $crate::__private::SealError> {
            $crate::__private::$function($keys, $place, Self::$column, $(&Self::$index,)? $field) $($wait)*
        }
    };
}

/// `Patient::ssn_index(&keyring, &ssn)`: the values to search an index for.
#[doc(hidden)]
#[macro_export]
macro_rules! __index_query {
    (
        $vis:vis [$($async:ident)?] $method:ident ([$($tenant:ident: $Tenant:ty)?] $($part:ident: $Value:ty),+)
        = $function:ident($index:ident, $name:literal) [$($wait:tt)*] $($more:literal)?
    ) => {
        #[doc = concat!(
            "The values to search the index `", $name, "` for: two slots for `IN (?, ?)`, equal outside a pepper \
             rotation. Fails when a value is absent, or a pepper is missing.", $($more)?
        )]
        $vis $($async)? fn $method(
            keyring: &$crate::__private::Keyring,
            $($tenant: &$Tenant,)?
            // Borrowed while it is waited for, perhaps by another thread.
            $($part: &(impl $crate::__private::IndexValue<$Value> + $crate::__private::Sync + ?$crate::__private::Sized),)+
        ) -> $crate::__private::Result<[$crate::__private::BlindIndex; 2], $crate::__private::IndexError> {
            let parts = [$($crate::__private::searched($part)?),+];
            $crate::__private::$function(keyring, $($tenant,)? &Self::$index, parts) $($wait)*
        }
    };
}

/// `Patient::find_by_ssn(&pool, &keyring, &ssn)`: the rows that an index finds.
#[doc(hidden)]
#[macro_export]
macro_rules! __finder {
    (
        $vis:vis $method:ident
        ($keys:ident: $Keys:ty, [$($tenant:ident: $Tenant:ty)?] $first:ident: $First:ty $(, $part:ident: $Value:ty)*)
        -> $Sealed:ty
        = $function:ident($query:ident($ring:expr) [$($wait:tt)*], $index:ident, $name:literal) $($more:literal)?
    ) => {
        #[doc = concat!(
            "Finds rows by `", stringify!($first), "`" $(, " and `", stringify!($part), "`")*, ": candidates by the index `",
            $name, "`, opened and compared. Fails when the database does, a value is absent, a pepper is missing, or a row \
             does not open.", $($more)?
        )]
        $vis async fn $method<'__c, __E>(
            executor: __E,
            $keys: &$Keys,
            $($tenant: &$Tenant,)?
            $first: &(impl $crate::__private::IndexValue<$First> + $crate::__private::Sync + ?$crate::__private::Sized),
            $($part: &(impl $crate::__private::IndexValue<$Value> + $crate::__private::Sync + ?$crate::__private::Sized),)*
        ) -> $crate::__private::Result<$crate::__private::Vec<Self>, $crate::__private::sqlx::Error>
        where
            __E: $crate::__private::sqlx::Executor<'__c, Database: $crate::__private::sqlx::Backend>,
            $Sealed: $crate::__private::sqlx::ReadRow<__E::Database>,
            $($Tenant: $crate::__private::sqlx::BindColumn<__E::Database>,)?
        {
            let slots = Self::$query($ring, $($tenant,)? $first $(, $part)*) $($wait)* ?;
            let parts = [$crate::__private::searched($first)? $(, $crate::__private::searched($part)?)*];
            let search = (&Self::$index, slots, parts);
            $crate::__private::sqlx::$function(executor, $keys, $($tenant,)? search).await
        }
    };
}
