//! Disclosure: the named way of decrypted values to an authorised answer, a screen or an API.
//!
//! A [`Disclosure`] has a [`Purpose`] and a [`DisclosureRecorder`]. What it gives out is [`Disclosed`], which serde can
//! serialise and nothing else can show; and it gives nothing out that the recorder has not taken down before.

use std::cell::RefCell;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::binding::RowBinding;
use crate::column::Column;
use crate::name::{ColumnName, Purpose, TableName};
use crate::phi::Phi;
use crate::value::Value;
use crate::wipe::Erase;

/// The codes of HL7's value set `PurposeOfUse` (OID 2.16.840.1.113883.1.11.20448) in the code system
/// <http://terminology.hl7.org/CodeSystem/v3-ActReason> that most applications need. Others of it, and names of your
/// own, by [`from_static`](Self::from_static).
impl Purpose {
    /// `TREAT`: treatment of the patient.
    pub const TREATMENT: Self = Self::from_static("TREAT");
    /// `ETREAT`: treatment in an emergency.
    pub const EMERGENCY_TREATMENT: Self = Self::from_static("ETREAT");
    /// `BTG`: break the glass, an emergency in which access rules are overridden.
    pub const BREAK_THE_GLASS: Self = Self::from_static("BTG");
    /// `HPAYMT`: payment for health care.
    pub const PAYMENT: Self = Self::from_static("HPAYMT");
    /// `COVERAGE`: coverage under a programme or policy.
    pub const COVERAGE: Self = Self::from_static("COVERAGE");
    /// `HOPERAT`: health care operations.
    pub const OPERATIONS: Self = Self::from_static("HOPERAT");
    /// `HLEGAL`: a legal obligation or proceeding.
    pub const LEGAL: Self = Self::from_static("HLEGAL");
    /// `PATRQT`: the patient asked for it.
    pub const PATIENT_REQUEST: Self = Self::from_static("PATRQT");
    /// `PUBHLTH`: public health.
    pub const PUBLIC_HEALTH: Self = Self::from_static("PUBHLTH");
    /// `HRESCH`: research.
    pub const RESEARCH: Self = Self::from_static("HRESCH");
}

/// Takes down what is about to be disclosed, or refuses it: an audit trail, a policy.
///
/// It is made for one request: who asks, and whose record it is, are its own to know.
pub trait DisclosureRecorder: Send + Sync {
    /// Takes down one disclosure. Called before any value of it can be seen.
    ///
    /// # Errors
    /// When it may not happen, or could not be recorded: then nothing is disclosed.
    fn record(&self, event: &DisclosureEvent<'_>) -> Result<(), DisclosureRefused>;
}

/// One disclosure: what for, and which columns. No values, no row ids, no index values.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct DisclosureEvent<'a> {
    /// What for.
    pub purpose: &'a Purpose,
    /// From which columns, each once, in the order in which they were first asked for.
    pub columns: &'a [DisclosedColumn],
}

/// A column in a [`DisclosureEvent`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct DisclosedColumn {
    /// Logical name of the table.
    pub table: TableName,
    /// Logical name of the column.
    pub column: ColumnName,
    /// How many values of it, absent ones counted: that a value is absent is an answer, too.
    pub values: usize,
}

/// Why nothing was disclosed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DisclosureRefused {
    /// The rules of the application do not allow it.
    #[error("the disclosure is not allowed")]
    NotAllowed,
    /// It could not be taken down. Try again later.
    #[error("the disclosure could not be recorded, so nothing was disclosed")]
    NotRecorded,
}

/// The disclosure of decrypted values for one purpose.
///
/// One value is disclosed by [`Column::disclose`]; the fields of an answer together, as one event, by
/// [`view`](Self::view). An answer of a web framework, with the columns that the derive makes:
///
#[cfg_attr(feature = "serde", doc = "```")]
#[cfg_attr(not(feature = "serde"), doc = "```ignore")]
/// use phield_core::{
///     Column, Disclosed, Disclosure, DisclosureEvent, DisclosureRecorder, DisclosureRefused, Padding, Phi, Purpose,
/// };
/// use serde::Serialize;
///
/// # struct Patient { id: i64, name: Phi<String>, phone: Option<Phi<String>>, clinic: i64 }
/// # impl Patient {
/// #     const NAME: Column<String, i64> = Column::new("patients", "name", Padding::Block16);
/// #     const PHONE: Column<String, i64> = Column::new("patients", "phone", Padding::Block16);
/// # }
/// # struct Request { user: &'static str }
/// /// What the screen needs, and no more.
/// #[derive(Serialize)]
/// struct PatientView<'v> {
///     id: i64,
///     name: Disclosed<'v, String>,
///     phone: Option<Disclosed<'v, String>>,
/// }
///
/// /// The audit trail, as far as one request sees it.
/// struct Trail<'r>(&'r Request);
///
/// impl DisclosureRecorder for Trail<'_> {
///     fn record(&self, event: &DisclosureEvent<'_>) -> Result<(), DisclosureRefused> {
///         let line = format!("{} {} {:?}", self.0.user, event.purpose, event.columns);
/// #       assert!(line.starts_with("u17 TREAT [DisclosedColumn { table: TableName(\"patients\")"));
///         // append `line`, and only then:
///         Ok(())
///     }
/// }
///
/// fn show(request: &Request, patient: &Patient) -> Result<String, Box<dyn std::error::Error>> {
///     let trail = Trail(request);
///     let view = Disclosure::new(Purpose::TREATMENT, &trail).view(|view| PatientView {
///         id: patient.id,
///         name: view.disclose(&Patient::NAME, &patient.name),
///         phone: view.disclose_optional(&Patient::PHONE, patient.phone.as_ref()),
///     })?;
///     Ok(serde_json::to_string(&view)?) // with axum: `Ok(axum::Json(view).into_response())`
/// }
///
/// let ada = Patient { id: 1, name: "Ada".into(), phone: None, clinic: 7 };
/// assert_eq!(show(&Request { user: "u17" }, &ada)?, r#"{"id":1,"name":"Ada","phone":null}"#);
/// # let _ = ada.clinic;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Security
/// What was serialised is the caller's to keep out of logs and caches. Search code for `.disclose` to find what is
/// given out and for `Disclosure::` to find what for. [`Phi::expose`] is there as ever and asks nobody: a rule of
/// review, not of the compiler, keeps it out of answers. The column is what you say it is: phield checks its type alone,
/// so that the name disclosed as `Patient::SSN` is recorded as one.
#[derive(Clone)]
pub struct Disclosure<'r> {
    purpose: Purpose,
    recorder: Option<&'r dyn DisclosureRecorder>,
}

impl<'r> Disclosure<'r> {
    /// A disclosure that is recorded here before it happens.
    #[must_use]
    pub const fn new(purpose: Purpose, recorder: &'r dyn DisclosureRecorder) -> Self {
        Self {
            purpose,
            recorder: Some(recorder),
        }
    }

    /// A disclosure that leaves no trace: while there is no audit trail, and in tests.
    #[must_use]
    pub const fn unrecorded(purpose: Purpose) -> Self {
        Self {
            purpose,
            recorder: None,
        }
    }

    /// What for.
    #[must_use]
    pub const fn purpose(&self) -> &Purpose {
        &self.purpose
    }

    /// Discloses the fields of a row, or of many rows, together: one event, recorded when `build` is through.
    ///
    /// Until then nothing can be serialised, inside `build` neither.
    ///
    /// # Errors
    /// When the recorder refuses; what was built is dropped.
    pub fn view<V>(&self, build: impl FnOnce(&DisclosureView) -> V) -> Result<V, DisclosureRefused> {
        let view = DisclosureView::default();
        let built = build(&view);
        self.record(&view.columns.into_inner())?;
        view.recorded.store(true, Ordering::Release);
        Ok(built)
    }

    fn record(&self, columns: &[DisclosedColumn]) -> Result<(), DisclosureRefused> {
        let event = DisclosureEvent {
            purpose: &self.purpose,
            columns,
        };
        match self.recorder {
            Some(recorder) if !columns.is_empty() => recorder.record(&event),
            _ => Ok(()),
        }
    }
}

impl fmt::Debug for Disclosure<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Disclosure")
            .field("purpose", &self.purpose.as_str())
            .field("recorded", &self.recorder.is_some())
            .finish()
    }
}

/// The fields of a [`Disclosure::view`] while they are put together.
#[derive(Debug, Default)]
pub struct DisclosureView {
    columns: RefCell<Vec<DisclosedColumn>>,
    recorded: Arc<AtomicBool>,
}

impl DisclosureView {
    /// Discloses one value of this column.
    pub fn disclose<'v, T: Value, B: RowBinding + ?Sized>(
        &self,
        column: &Column<T, B>,
        value: &'v Phi<T>,
    ) -> Disclosed<'v, T> {
        self.count(column.table(), column.name());
        Disclosed {
            value,
            recorded: Some(self.recorded.clone()),
        }
    }

    /// Discloses a value of this column, or that there is none.
    pub fn disclose_optional<'v, T: Value, B: RowBinding + ?Sized>(
        &self,
        column: &Column<T, B>,
        value: Option<&'v Phi<T>>,
    ) -> Option<Disclosed<'v, T>> {
        match value {
            Some(value) => Some(self.disclose(column, value)),
            None => {
                self.count(column.table(), column.name());
                None
            }
        }
    }

    fn count(&self, table: &TableName, column: &ColumnName) {
        let mut columns = self.columns.borrow_mut();
        let known = columns
            .iter_mut()
            .find(|known| known.column == *column && known.table == *table);
        match known {
            Some(known) => known.values += 1,
            None => columns.push(DisclosedColumn::one(table, column)),
        }
    }
}

impl DisclosedColumn {
    fn one(table: &TableName, column: &ColumnName) -> Self {
        Self {
            table: table.clone(),
            column: column.clone(),
            values: 1,
        }
    }
}

impl<T: Value, B: RowBinding + ?Sized> Column<T, B> {
    /// Discloses one value of this column, as an event of its own: `Patient::NAME.disclose(&patient.name, &disclosure)?`.
    ///
    /// # Errors
    /// When the recorder refuses.
    pub fn disclose<'v>(
        &self,
        value: &'v Phi<T>,
        disclosure: &Disclosure<'_>,
    ) -> Result<Disclosed<'v, T>, DisclosureRefused> {
        disclosure.record(&[DisclosedColumn::one(self.table(), self.name())])?;
        Ok(Disclosed {
            value,
            recorded: None,
        })
    }

    /// As [`disclose`](Self::disclose), for a value that can be absent. Recorded in either case.
    ///
    /// # Errors
    /// When the recorder refuses.
    pub fn disclose_optional<'v>(
        &self,
        value: Option<&'v Phi<T>>,
        disclosure: &Disclosure<'_>,
    ) -> Result<Option<Disclosed<'v, T>>, DisclosureRefused> {
        match value {
            Some(value) => self.disclose(value, disclosure).map(Some),
            None => disclosure
                .record(&[DisclosedColumn::one(self.table(), self.name())])
                .map(|()| None),
        }
    }
}

/// A decrypted value on its way into an answer. With the feature `serde` it has `Serialize` where the value has; it is
/// not cloned, printed or dereferenced.
///
/// # Security
/// What has `Serialize` can be written anywhere that serde reaches: into a cache, or through `sqlx::types::Json` and
/// `serde_json::to_value` into a column, in the clear. Search code for these two beside `.disclose`.
#[must_use = "what is disclosed is meant for an answer"]
pub struct Disclosed<'v, T: Erase> {
    #[cfg_attr(
        not(feature = "serde"),
        allow(dead_code, reason = "read by `Serialize` alone")
    )]
    value: &'v Phi<T>,
    /// Whether the view that it belongs to was recorded; `None` where that came first.
    #[cfg_attr(
        not(feature = "serde"),
        allow(dead_code, reason = "read by `Serialize` alone")
    )]
    recorded: Option<Arc<AtomicBool>>,
}

impl<T: Erase> fmt::Debug for Disclosed<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Disclosed(..)")
    }
}

#[cfg(feature = "serde")]
impl<T: Erase + serde::Serialize> serde::Serialize for Disclosed<'_, T> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if let Some(recorded) = &self.recorded
            && !recorded.load(Ordering::Acquire)
        {
            return Err(serde::ser::Error::custom(DisclosureRefused::NotRecorded));
        }
        self.value.expose().serialize(serializer)
    }
}
