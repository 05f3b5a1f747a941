///The columns of a [`Patient`]: ciphertext, index values and what is not PHI.
///
/// A patient.
#[derive(::core::fmt::Debug, ::core::clone::Clone)]
#[allow(dead_code)]
pub struct SealedPatient {
    ///`id`, as it is.
    pub id: Uuid,
    ///`clinic`, as it is.
    pub clinic: String,
    ///`name`, sealed.
    pub name: ::phield::__private::Sealed<String>,
    ///The blind index `name_index`.
    pub name_index: ::phield::__private::BlindIndex,
    ///`ssn`, sealed.
    pub ssn: ::phield::__private::Sealed<String>,
    ///The blind index `ssn_index`.
    pub ssn_index: ::phield::__private::BlindIndex,
    ///`birth_date`, sealed.
    pub birth_date: ::phield::__private::Sealed<String>,
    ///The blind index `birth_date_index`.
    pub birth_date_index: ::phield::__private::BlindIndex,
    ///`phone`, sealed.
    pub phone: ::phield::__private::Option<::phield::__private::Sealed<String>>,
    ///`note`, sealed.
    pub note: ::phield::__private::SealedText<String>,
    ///`email`, sealed.
    pub email: ::phield::__private::Sealed<String>,
    ///`weight`, sealed.
    pub weight: ::phield::__private::Sealed<i64>,
    ///`photo`, sealed.
    pub photo: ::phield::__private::Sealed<Vec<u8>>,
}
#[allow(dead_code, unused_imports)]
const _: () = {
    use ::phield::__private::{self as __p, MaybePhi as _};
    type __Sealing<T> = __p::Result<T, __p::SealError>;
    type __Opening<T> = __p::Result<T, __p::OpenRowError>;
    type __Row = __p::InTenant<String, Uuid>;
    type __Column<T> = __p::Column<T, __Row>;
    const _: () = ::core::assert!(__p::Plain:: < Uuid > ::PLAIN, "{}", __p::HIDDEN_PHI);
    const _: () = ::core::assert!(
        __p::Plain:: < String > ::PLAIN, "{}", __p::HIDDEN_PHI
    );
    const _: () = __p::assert_row_id::<Uuid>();
    const _: () = __p::assert_tenant::<String>();
    #[automatically_derived]
    impl Patient {
        /// The table: its columns, and its blind indexes.
        pub const SCHEMA: __p::Schema = __p::schema::<
            Self,
        >("patients", "patients", &["id"])
            .in_tenant("clinic");
        ///The sealed column of `name`: opens it without the rest of its row.
        pub const NAME: __Column<String> = Self::SCHEMA.column("name");
        ///The sealed column of `ssn`: opens it without the rest of its row.
        pub const SSN: __Column<String> = Self::SCHEMA.column("ssn");
        ///The sealed column of `birth_date`: opens it without the rest of its row.
        pub const BIRTH_DATE: __Column<String> = Self::SCHEMA.column("birth_date");
        ///The sealed column of `phone`: opens it without the rest of its row.
        pub const PHONE: __Column<String> = Self::SCHEMA.column("phone");
        ///The sealed column of `note`: opens it without the rest of its row.
        pub const NOTE: __Column<String> = Self::SCHEMA.column("note");
        ///The sealed column of `email`: opens it without the rest of its row.
        pub const EMAIL: __Column<String> = Self::SCHEMA.column("email");
        ///The sealed column of `weight`: opens it without the rest of its row.
        pub const WEIGHT: __Column<i64> = Self::SCHEMA.column("weight");
        ///The sealed column of `photo`: opens it without the rest of its row.
        pub const PHOTO: __Column<Vec<u8>> = Self::SCHEMA.column("photo");
        ///The definition of the blind index `name_index`.
        pub const NAME_INDEX: __p::Index = Self::SCHEMA.index("name_index");
        ///The definition of the blind index `ssn_index`.
        pub const SSN_INDEX: __p::Index = Self::SCHEMA.index("ssn_index");
        ///The definition of the blind index `birth_date_index`.
        pub const BIRTH_DATE_INDEX: __p::Index = Self::SCHEMA.index("birth_date_index");
        ///Seals the row. Fails when a value cannot be sealed or indexed, or a key is missing; then nothing is sealed.
        pub fn seal(&self, keyring: &__p::Keyring) -> __Sealing<SealedPatient> {
            __p::seal(self, keyring)
        }
        ///Seals many rows, with few requests to the operating system for randomness. Fails when a value cannot be sealed or indexed, or a key is missing; then nothing is sealed.
        pub fn seal_batch(
            rows: &[Self],
            keyring: &__p::Keyring,
        ) -> __Sealing<__p::Vec<SealedPatient>> {
            __p::seal_batch(rows, keyring)
        }
        ///Seals `name` of a row, for an `UPDATE` of exactly the columns returned. Fails when a value cannot be sealed or indexed, or a key is missing; then nothing is sealed.
        pub fn seal_name(
            keyring: &__p::Keyring,
            row: &__Row,
            name: &Phi<String>,
        ) -> __Sealing<(__p::Sealed<String>, __p::BlindIndex)> {
            __p::seal_indexed(keyring, row, Self::NAME, &Self::NAME_INDEX, name)
        }
        ///Seals `ssn` of a row, for an `UPDATE` of exactly the columns returned. Fails when a value cannot be sealed or indexed, or a key is missing; then nothing is sealed.
        pub fn seal_ssn(
            keyring: &__p::Keyring,
            row: &__Row,
            ssn: &Phi<String>,
        ) -> __Sealing<(__p::Sealed<String>, __p::BlindIndex)> {
            __p::seal_indexed(keyring, row, Self::SSN, &Self::SSN_INDEX, ssn)
        }
        ///Seals `birth_date` of a row, for an `UPDATE` of exactly the columns returned. Fails when a value cannot be sealed or indexed, or a key is missing; then nothing is sealed.
        pub fn seal_birth_date(
            keyring: &__p::Keyring,
            row: &__Row,
            birth_date: &Phi<String>,
        ) -> __Sealing<(__p::Sealed<String>, __p::BlindIndex)> {
            __p::seal_indexed(
                keyring,
                row,
                Self::BIRTH_DATE,
                &Self::BIRTH_DATE_INDEX,
                birth_date,
            )
        }
        ///Seals `phone` of a row, for an `UPDATE` of exactly the columns returned. Fails when a value cannot be sealed or indexed, or a key is missing; then nothing is sealed.
        pub fn seal_phone(
            keyring: &__p::Keyring,
            row: &__Row,
            phone: &Option<Phi<String>>,
        ) -> __Sealing<__p::Option<__p::Sealed<String>>> {
            __p::seal_one(keyring, row, Self::PHONE, phone)
        }
        ///Seals `note` of a row, for an `UPDATE` of exactly the columns returned. Fails when a value cannot be sealed or indexed, or a key is missing; then nothing is sealed.
        pub fn seal_note(
            keyring: &__p::Keyring,
            row: &__Row,
            note: &Phi<String>,
        ) -> __Sealing<__p::SealedText<String>> {
            __p::seal_one(keyring, row, Self::NOTE, note)
        }
        ///Seals `email` of a row, for an `UPDATE` of exactly the columns returned. Fails when a value cannot be sealed or indexed, or a key is missing; then nothing is sealed.
        pub fn seal_email(
            keyring: &__p::Keyring,
            row: &__Row,
            email: &Phi<String>,
        ) -> __Sealing<__p::Sealed<String>> {
            __p::seal_one(keyring, row, Self::EMAIL, email)
        }
        ///Seals `weight` of a row, for an `UPDATE` of exactly the columns returned. Fails when a value cannot be sealed or indexed, or a key is missing; then nothing is sealed.
        pub fn seal_weight(
            keyring: &__p::Keyring,
            row: &__Row,
            weight: &Phi<i64>,
        ) -> __Sealing<__p::Sealed<i64>> {
            __p::seal_one(keyring, row, Self::WEIGHT, weight)
        }
        ///Seals `photo` of a row, for an `UPDATE` of exactly the columns returned. Fails when a value cannot be sealed or indexed, or a key is missing; then nothing is sealed.
        pub fn seal_photo(
            keyring: &__p::Keyring,
            row: &__Row,
            photo: &Phi<Vec<u8>>,
        ) -> __Sealing<__p::Sealed<Vec<u8>>> {
            __p::seal_one(keyring, row, Self::PHOTO, photo)
        }
        ///The values to search the index `name_index` for: two slots for `IN (?, ?)`, equal outside a pepper rotation. Fails when a value is absent, or a pepper is missing.
        pub fn name_index(
            keyring: &__p::Keyring,
            tenant: &String,
            name: &(impl __p::IndexValue<String> + ?__p::Sized),
        ) -> __p::Result<[__p::BlindIndex; 2], __p::IndexError> {
            let parts = [__p::searched(name)?];
            __p::query_in(keyring, tenant, &Self::NAME_INDEX, parts)
        }
        ///The values to search the index `ssn_index` for: two slots for `IN (?, ?)`, equal outside a pepper rotation. Fails when a value is absent, or a pepper is missing.
        pub fn ssn_index(
            keyring: &__p::Keyring,
            tenant: &String,
            ssn: &(impl __p::IndexValue<String> + ?__p::Sized),
        ) -> __p::Result<[__p::BlindIndex; 2], __p::IndexError> {
            let parts = [__p::searched(ssn)?];
            __p::query_in(keyring, tenant, &Self::SSN_INDEX, parts)
        }
        ///The values to search the index `birth_date_index` for: two slots for `IN (?, ?)`, equal outside a pepper rotation. Fails when a value is absent, or a pepper is missing.
        pub fn birth_date_index(
            keyring: &__p::Keyring,
            tenant: &String,
            birth_date: &(impl __p::IndexValue<String> + ?__p::Sized),
        ) -> __p::Result<[__p::BlindIndex; 2], __p::IndexError> {
            let parts = [__p::searched(birth_date)?];
            __p::query_in(keyring, tenant, &Self::BIRTH_DATE_INDEX, parts)
        }
    }
    #[automatically_derived]
    impl SealedPatient {
        /// The names of the columns in SQL, in the order of the fields.
        pub const COLUMNS: &'static [&'static str] = &__p::names_of::<
            13,
        >(<Patient>::SCHEMA.columns);
        /// The columns for a `SELECT` or `INSERT`: separated by commas, quoted where SQL reserves the word
        /// (MariaDB and MySQL: `phield::sqlx::column_list`).
        pub const COLUMN_LIST: &'static str = "id, clinic, name, name_index, ssn, ssn_index, birth_date, birth_date_index, phone, note, email, weight, photo";
        /// Opens the row. Fails when a token was not sealed for this place, or its key is missing.
        pub fn open(self, keyring: &__p::Keyring) -> __Opening<Patient> {
            __p::open(self, keyring)
        }
        /// As `open`; says when a compromised key was involved: whoever has it can have made the row.
        pub fn open_reported(
            self,
            keyring: &__p::Keyring,
        ) -> __Opening<__p::Reported<Patient>> {
            __p::ReadModel::open_reported(self, keyring)
        }
        /// Opens many rows. Fails when one of them does not open.
        pub fn open_batch(
            rows: __p::Vec<Self>,
            keyring: &__p::Keyring,
        ) -> __Opening<__p::Vec<Patient>> {
            __p::open_batch(rows, keyring)
        }
    }
    #[automatically_derived]
    impl __p::ReadModel for Patient {
        type Sealed = SealedPatient;
        type Keys<'__k> = __p::Keyring;
        const TABLE: __p::TableName = __p::TableName::from_static("patients");
        fn open_reported(
            sealed: Self::Sealed,
            keyring: &__p::Keyring,
        ) -> __Opening<__p::Reported<Self>> {
            let row = &__p::tenant(&sealed.clinic, &sealed.id);
            let opener = &mut __p::row_opener::<Self>(keyring, row)?;
            let value = Self {
                id: sealed.id,
                clinic: sealed.clinic,
                name: __p::open_field(opener, &Self::NAME, sealed.name)?,
                ssn: __p::open_field(opener, &Self::SSN, sealed.ssn)?,
                birth_date: __p::open_field(
                    opener,
                    &Self::BIRTH_DATE,
                    sealed.birth_date,
                )?,
                phone: __p::open_field(opener, &Self::PHONE, sealed.phone)?,
                note: __p::open_field(opener, &Self::NOTE, sealed.note)?,
                email: __p::open_field(opener, &Self::EMAIL, sealed.email)?,
                weight: __p::open_field(opener, &Self::WEIGHT, sealed.weight)?,
                photo: __p::open_field(opener, &Self::PHOTO, sealed.photo)?,
            };
            __p::Result::Ok(__p::Reported::new(value, opener.compromised()))
        }
    }
    #[automatically_derived]
    impl __p::Model for Patient {
        const TOKENS: usize = 8usize;
        const COLUMNS: &'static [__p::ColumnSchema] = &[
            __p::ColumnSchema::plain("id", "Uuid"),
            __p::ColumnSchema::plain("clinic", "String"),
            __p::ColumnSchema::sealed::<Phi<String>>("name"),
            __p::ColumnSchema::index("name_index", "name_index", false),
            __p::ColumnSchema::sealed::<Phi<String>>("ssn"),
            __p::ColumnSchema::index("ssn_index", "ssn_index", false),
            __p::ColumnSchema::sealed::<Phi<String>>("birth_date"),
            __p::ColumnSchema::index("birth_date_index", "birth_date_index", false),
            __p::ColumnSchema::sealed::<Option<Phi<String>>>("phone"),
            __p::ColumnSchema::sealed::<Phi<String>>("note").in_text(),
            __p::ColumnSchema::sealed::<Phi<String>>("email"),
            __p::ColumnSchema::sealed::<Phi<i64>>("weight"),
            __p::ColumnSchema::sealed::<Phi<Vec<u8>>>("photo"),
        ];
        const INDEXES: &'static [__p::IndexSchema] = &[
            __p::IndexSchema::over("name_index", &["name"], &[__p::Normalizer::Name]),
            __p::IndexSchema::over("ssn_index", &["ssn"], &[__p::Normalizer::Ssn]),
            __p::IndexSchema::over(
                "birth_date_index",
                &["birth_date"],
                &[__p::Normalizer::Date],
            ),
        ];
        fn each_index(&self, visit: &mut __p::IndexVisitor<'_>) -> __Sealing<()> {
            let tenant = __p::AsTenant::as_tenant(&self.clinic)?;
            let tenant = __p::Option::Some(&*tenant);
            visit(&Self::NAME_INDEX, tenant, &[__p::part(&self.name)?])?;
            visit(&Self::SSN_INDEX, tenant, &[__p::part(&self.ssn)?])?;
            visit(&Self::BIRTH_DATE_INDEX, tenant, &[__p::part(&self.birth_date)?])?;
            __p::Result::Ok(())
        }
        fn seal_with(
            &self,
            sealer: &mut __p::Sealer<'_>,
            indexes: __p::IndexValues,
        ) -> __Sealing<Self::Sealed> {
            let fields = [
                __p::field(&self.name, Self::NAME)?,
                __p::field(&self.ssn, Self::SSN)?,
                __p::field(&self.birth_date, Self::BIRTH_DATE)?,
                __p::field(&self.phone, Self::PHONE)?,
                __p::field(&self.note, Self::NOTE)?,
                __p::field(&self.email, Self::EMAIL)?,
                __p::field(&self.weight, Self::WEIGHT)?,
                __p::field(&self.photo, Self::PHOTO)?,
            ];
            let mut row = __p::seal_fields(
                self,
                sealer,
                indexes,
                &__p::tenant(&self.clinic, &self.id),
                fields,
            )?;
            __p::Result::Ok(SealedPatient {
                id: __p::Clone::clone(&self.id),
                clinic: __p::Clone::clone(&self.clinic),
                name: row.token()?,
                name_index: row.index()?,
                ssn: row.token()?,
                ssn_index: row.index()?,
                birth_date: row.token()?,
                birth_date_index: row.index()?,
                phone: row.token()?,
                note: row.token()?,
                email: row.token()?,
                weight: row.token()?,
                photo: row.token()?,
            })
        }
    }
    #[automatically_derived]
    impl<'__r, __R> __p::sqlx::FromRow<'__r, __R> for SealedPatient
    where
        __R: __p::sqlx::NamedRow,
        Uuid: __p::sqlx::ReadColumn<'__r, __R::Database>,
        String: __p::sqlx::ReadColumn<'__r, __R::Database>,
        __p::Sealed<String>: __p::sqlx::ReadColumn<'__r, __R::Database>,
        __p::BlindIndex: __p::sqlx::ReadColumn<'__r, __R::Database>,
        __p::Option<__p::Sealed<String>>: __p::sqlx::ReadColumn<'__r, __R::Database>,
        __p::SealedText<String>: __p::sqlx::ReadColumn<'__r, __R::Database>,
        __p::Sealed<i64>: __p::sqlx::ReadColumn<'__r, __R::Database>,
        __p::Sealed<Vec<u8>>: __p::sqlx::ReadColumn<'__r, __R::Database>,
    {
        fn from_row(row: &'__r __R) -> __p::Result<Self, __p::sqlx::SqlxError> {
            let columns = &mut __p::sqlx::columns::<Self, __R>(row);
            __p::Result::Ok(Self {
                id: columns.read()?,
                clinic: columns.read()?,
                name: columns.read()?,
                name_index: columns.read()?,
                ssn: columns.read()?,
                ssn_index: columns.read()?,
                birth_date: columns.read()?,
                birth_date_index: columns.read()?,
                phone: columns.read()?,
                note: columns.read()?,
                email: columns.read()?,
                weight: columns.read()?,
                photo: columns.read()?,
            })
        }
    }
    #[automatically_derived]
    impl __p::sqlx::SealedRow for SealedPatient {
        const TABLE: &'static str = "patients";
        const COLUMNS: &'static [&'static str] = Self::COLUMNS;
        const KEY: &'static [&'static str] = &["clinic", "id"];
        const TENANT: __p::Option<&'static str> = __p::Option::Some("clinic");
        const GENERATED: &'static [&'static str] = &[];
    }
    #[automatically_derived]
    impl<__DB> __p::sqlx::BindRow<__DB> for SealedPatient
    where
        __DB: __p::sqlx::Database,
        Uuid: __p::sqlx::BindColumn<__DB>,
        String: __p::sqlx::BindColumn<__DB>,
        __p::Sealed<String>: __p::sqlx::BindColumn<__DB>,
        __p::BlindIndex: __p::sqlx::BindColumn<__DB>,
        __p::Option<__p::Sealed<String>>: __p::sqlx::BindColumn<__DB>,
        __p::SealedText<String>: __p::sqlx::BindColumn<__DB>,
        __p::Sealed<i64>: __p::sqlx::BindColumn<__DB>,
        __p::Sealed<Vec<u8>>: __p::sqlx::BindColumn<__DB>,
    {
        fn bind_row(&self, values: &mut __p::sqlx::Values<'_, __DB>) {
            values.bind(&self.id);
            values.bind(&self.clinic);
            values.bind(&self.name);
            values.bind(&self.name_index);
            values.bind(&self.ssn);
            values.bind(&self.ssn_index);
            values.bind(&self.birth_date);
            values.bind(&self.birth_date_index);
            values.bind(&self.phone);
            values.bind(&self.note);
            values.bind(&self.email);
            values.bind(&self.weight);
            values.bind(&self.photo);
        }
    }
    #[automatically_derived]
    impl Patient {
        /// Reads and opens the row with this id, if it is there. A row that the database takes for it, but whose id is
        /// another one (a collation that ignores case, a view), is not returned. Fails when the database does, or the row
        /// does not open.
        pub async fn fetch<'__c, __E>(
            executor: __E,
            keyring: &__p::Keyring,
            tenant: &String,
            row_id: &Uuid,
        ) -> __p::Result<__p::Option<Self>, __p::sqlx::Error>
        where
            __E: __p::sqlx::Executor<'__c, Database: __p::sqlx::Backend>,
            SealedPatient: __p::sqlx::ReadRow<__E::Database>,
            String: __p::sqlx::BindColumn<__E::Database>,
            Uuid: __p::sqlx::BindColumn<__E::Database>,
        {
            let same = |row: &Self| {
                __p::same_tenant(&row.clinic, tenant)
                    && __p::same_row_id(&row.id, row_id)
            };
            __p::sqlx::fetch(
                    executor,
                    keyring,
                    |key| key.equal("clinic", tenant).equal("id", row_id),
                    same,
                )
                .await
        }
        ///Finds rows by `name`: candidates by the index `name_index`, opened and compared. Fails when the database does, a value is absent, a pepper is missing, or a row does not open.
        pub async fn find_by_name<'__c, __E>(
            executor: __E,
            keyring: &__p::Keyring,
            tenant: &String,
            name: &(impl __p::IndexValue<String> + __p::Sync + ?__p::Sized),
        ) -> __p::Result<__p::Vec<Self>, __p::sqlx::Error>
        where
            __E: __p::sqlx::Executor<'__c, Database: __p::sqlx::Backend>,
            SealedPatient: __p::sqlx::ReadRow<__E::Database>,
            String: __p::sqlx::BindColumn<__E::Database>,
        {
            let slots = Self::name_index(keyring, tenant, name)?;
            let search = (&Self::NAME_INDEX, slots, [__p::searched(name)?]);
            __p::sqlx::find_in(executor, keyring, tenant, search).await
        }
        ///Finds rows by `ssn`: candidates by the index `ssn_index`, opened and compared. Fails when the database does, a value is absent, a pepper is missing, or a row does not open.
        pub async fn find_by_ssn<'__c, __E>(
            executor: __E,
            keyring: &__p::Keyring,
            tenant: &String,
            ssn: &(impl __p::IndexValue<String> + __p::Sync + ?__p::Sized),
        ) -> __p::Result<__p::Vec<Self>, __p::sqlx::Error>
        where
            __E: __p::sqlx::Executor<'__c, Database: __p::sqlx::Backend>,
            SealedPatient: __p::sqlx::ReadRow<__E::Database>,
            String: __p::sqlx::BindColumn<__E::Database>,
        {
            let slots = Self::ssn_index(keyring, tenant, ssn)?;
            let search = (&Self::SSN_INDEX, slots, [__p::searched(ssn)?]);
            __p::sqlx::find_in(executor, keyring, tenant, search).await
        }
        ///Finds rows by `birth_date`: candidates by the index `birth_date_index`, opened and compared. Fails when the database does, a value is absent, a pepper is missing, or a row does not open.
        pub async fn find_by_birth_date<'__c, __E>(
            executor: __E,
            keyring: &__p::Keyring,
            tenant: &String,
            birth_date: &(impl __p::IndexValue<String> + __p::Sync + ?__p::Sized),
        ) -> __p::Result<__p::Vec<Self>, __p::sqlx::Error>
        where
            __E: __p::sqlx::Executor<'__c, Database: __p::sqlx::Backend>,
            SealedPatient: __p::sqlx::ReadRow<__E::Database>,
            String: __p::sqlx::BindColumn<__E::Database>,
        {
            let slots = Self::birth_date_index(keyring, tenant, birth_date)?;
            let search = (&Self::BIRTH_DATE_INDEX, slots, [__p::searched(birth_date)?]);
            __p::sqlx::find_in(executor, keyring, tenant, search).await
        }
    }
};
