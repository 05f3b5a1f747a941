/// A patient.
#[phi(table = "patients")]
pub struct Patient {
    #[phi(row_id)]
    pub id: Uuid,
    #[phi(tenant)]
    pub clinic: String,
    #[phi(index(normalize = "name"))]
    pub name: Phi<String>,
    #[phi(index(normalize = "ssn"))]
    pub ssn: Phi<String>,
    #[phi(index(normalize = "date"))]
    pub birth_date: Phi<String>,
    pub phone: Option<Phi<String>>,
    #[phi(store = "text")]
    pub note: Phi<String>,
    pub email: Phi<String>,
    pub weight: Phi<i64>,
    pub photo: Phi<Vec<u8>>,
}
