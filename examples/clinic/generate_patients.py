#!/usr/bin/env python3
"""Write patients.ndjson: 240 invented FHIR R4 Patient resources, one per line.

EVERY RECORD IS INVENTED.  No name, number, date or address was taken from a
real person or from another data set; a likeness to anybody is chance.  To
keep it that way:

* social security numbers start with 9 (never issued) and have a middle part
  of 01 to 49 (not used for taxpayer numbers either);
* telephone numbers end in 555-0100 to 555-0199 (reserved for fiction);
* streets and towns are made up, and a ZIP code only fits its state.

The shape follows Synthea's US Core patients, shortened.  The run needs only
the standard library and is deterministic: the same seed gives the same bytes.

    python3 generate_patients.py            # writes patients.ndjson beside it
    python3 generate_patients.py other.out  # writes somewhere else
"""

import json
import random
import sys
import uuid
from datetime import date, timedelta
from pathlib import Path

SEED = 20250107
COUNT = 240
TODAY = date(2025, 1, 1)        # fixed, so that ages do not drift

EXT = "http://hl7.org/fhir/StructureDefinition/"
US_CORE = "http://hl7.org/fhir/us/core/StructureDefinition/"
V2_0203 = "http://terminology.hl7.org/CodeSystem/v2-0203"
V3_MARITAL = "http://terminology.hl7.org/CodeSystem/v3-MaritalStatus"

# type code -> (text, system)
IDENTIFIERS = {
    "MR": ("Medical Record Number", "http://hospital.smarthealthit.org"),
    "SS": ("Social Security Number", "http://hl7.org/fhir/sid/us-ssn"),
    "DL": ("Driver's license number", "urn:oid:2.16.840.1.113883.4.3.25"),
    "PPN": ("Passport Number",
            "http://standardhealthrecord.org/fhir/StructureDefinition/passportNumber"),
}
OTHER_MRN_SYSTEMS = [
    "http://north-clinic.example.org/mrn",
    "http://lakeside.example.com/patients",
    "urn:oid:2.999.7.41",
]

MARITAL = {"S": "Never Married", "M": "Married", "D": "Divorced", "W": "Widowed"}

# ---------------------------------------------------------------- name lists
# Each group: women's given names, men's given names, family names.  A family
# name written "a/b" has a woman's form and a man's form.

NAMES = [
    ("Abigail Beatrice Clara Dorothy Eleanor Harriet Imogen Josephine Mabel Rosalind",
     "Albert Benedict Clifford Desmond Everett Frank Gilbert Harvey Jasper Walter",
     "Ashdown Birch Copperfield Danvers Fairweather Hartwell Larkspur Merriman "
     "Smith-Jones Thornbury Underhill Wainwright Hill-Barrow"),
    ("Aoife Bríd Caoimhe Gráinne Niamh Órla Róisín Siobhán",
     "Cillian Colm Dónal Eoghan Fintan Pádraig Ruairí Seán",
     "O'Neill O’Neill O'Malley O’Dowd MacGowan McKeever Gallagher Ní_Bhriain/Ó_Briain"),
    ("Concepción Inés Itziar Lucía Marisol Nuria Pilar Ximena Yolanda",
     "Álvaro Andrés Efraín Hernán Iñaki Joaquín Óscar Raúl Tomás",
     "García Muñoz Ibáñez Peñalver Núñez Echeverría Zúñiga de_la_Cruz "
     "García-Robles Ordóñez"),
    ("Beatriz Conceição Inês Luísa Rosângela Tainá",
     "Antônio Caetano Estêvão João Leandro Simão",
     "Guimarães Conceição Falcão dos_Santos Araújo Brandão"),
    ("Agnieszka Bożena Grażyna Jadwiga Małgorzata Zuzanna",
     "Grzegorz Łukasz Mieczysław Paweł Stanisław Zbigniew",
     "Wiśniewska/Wiśniewski Zając Dąbrowska/Dąbrowski Kołodziej Żak Gołębiowska/Gołębiowski"),
    ("Bích Hạnh Hương Ngọc Thảo Tuyết",
     "Bảo Đức Hùng Khánh Quốc Tuấn",
     "Đặng Nguyễn Trần Phạm Vũ Đỗ Lý"),
    ("Bo Fang Hui Jing Lan Mei Xia Yan",
     "Bo Cheng Gang Hao Jun Lei Ming Tao",
     "Li Wu Xu Ng Ma He Zhou Ouyang"),
    ("Ásdís Birna Guðrún Sólveig Þórdís Þórunn",
     "Ásgeir Björn Einar Sigurður Þórður Ævar",
     "Jónsdóttir/Jónsson Helgadóttir/Helgason Þorsteinsdóttir/Þorsteinsson "
     "Bjarnadóttir/Bjarnason"),
    ("Astrid Bodil Kirsten Märta Ragnhild Åsa",
     "Bo Håkon Jørgen Lars Søren Øystein",
     "Kjærgaard Sørensen Lindqvist Ødegård Åkesson Bjørnstad Ek"),
    ("Bärbel Gisela Heike Käthe Ulrike Walburga",
     "Detlef Günther Jörg Jürgen Rüdiger Wolfgang",
     "Müller Schröder Weiß Köhler von_Ahlen Grünwald Oßwald"),
    ("Anneke Femke Griet Lotte Marijke Saskia",
     "Dirk Joost Maarten Pieter Sjoerd Wouter",
     "van_der_Berg van_'t_Hof de_Wit ten_Brink Hoekstra van_den_Heuvel"),
    ("Chiara Fiorella Giulia Lucrezia Noemi Serafina",
     "Dario Ettore Gaetano Niccolò Raffaele Tullio",
     "d'Angelo D’Amico Dell'Orto Bellini Lo_Presti Cantù"),
    ("Anne-Sophie Céline Françoise Hélène Maëlys Océane",
     "Étienne François Jean-Luc Loïc René Théo",
     "L'Hermite Beauséjour D’Aubigny Lefèvre Desprès Saint-Rémy"),
    ("Amara Chidinma Folasade Ngozi Temitope Zanele",
     "Babatunde Chukwuemeka Kwabena Olúwaṣeun Sipho Tendai",
     "Adébáyọ̀ Okonkwo Nwachukwu Mensah Dlamini Oyelaran"),
    ("Aditi Kavitha Lakshmi Meenakshi Priya Sunita",
     "Arjun Harish Karthik Manoj Rajesh Venkatesh",
     "Chatterjee Iyer Krishnamurthy Rao Deshpande Bhatt"),
    ("Amina Fatima Layla Nour Samira Zaynab",
     "Bilal Hamza Idris Khalil Omar Yusuf",
     "al-Hadidi Ben_Youssef El_Amrani Haddad Abu_Salim Karimi"),
    ("Blažena Jiřina Kateřina Ludmila Růžena Žofie",
     "Bořivoj Jiří Ondřej Přemysl Štěpán Zdeněk",
     "Dvořáčková/Dvořáček Říhová/Říha Šťastná/Šťastný Kučerová/Kučera"),
    ("Ayşe Gülşen Çiğdem İpek Özlem Şule",
     "Barış Çağlar İlker Oğuz Ömer Yiğit",
     "Yıldız Öztürk Çelik Şahin Kılıç Güneş"),
    ("Haruka Keiko Mitsuko Noriko Sayuri Yumi",
     "Daichi Hiroshi Kenji Ryō Shōta Tetsuo",
     "Fujisawa Ishikawa Kōno Ōnishi Watanabe Abe"),
    ("Dezba Kaʻiulani Leilani Noelani Winona Yanaba",
     "Hiapo Kainoa Keahi Makoa Tahoma Wikolia",
     "Kaʻaihue Begaye Nakai Kealoha Tsosie Yellowfeather"),
]

# Records whose names must be there, whatever the dice say:
# (gender, given names, family name or None, mother's maiden name)
FIXED = [
    ("female", ["María", "José"], "García", "Remedios Zúñiga"),
    ("male", ["Łukasz"], "Wiśniewski", "Bożena Żak"),
    ("male", ["Văn", "Hùng"], "Đặng", "Tuyết Lý"),
    ("female", ["Thị", "Ngọc"], "Nguyễn", "Hạnh Đỗ"),
    ("female", ["Þórunn"], "Jónsdóttir", "Guðrún Helgadóttir"),
    ("male", ["Jürgen"], "Müller", "Käthe Weiß"),
    ("male", ["Søren"], "Kjærgaard", "Bodil Ødegård"),
    ("female", ["Siobhán"], "O'Neill", "Niamh O’Dowd"),
    ("male", ["Colm"], "O’Neill", "Bríd O'Malley"),
    ("female", ["Chiara"], "d'Angelo", "Noemi Lo Presti"),
    ("male", ["Pieter"], "van der Berg", "Griet de Wit"),
    ("female", ["Rosalind"], "Smith-Jones", "Mabel Birch"),
    ("female", ["Mei"], "Li", "Lan Wu"),
    ("male", ["Bo"], "Wu", "Jing Xu"),
    ("male", ["Jun"], "Xu", "Fang Li"),
    ("female", ["Hui", "Min"], "Ng", "Xia Ma"),
    ("female", ["Bo"], "Ek", "Åsa Lindqvist"),
    # a single name, no family name
    ("female", ["Wulandari"], None, "Sulastri"),
    ("male", ["Thiha"], None, "Khin"),
    # not in Latin letters
    ("female", ["秀英"], "李", "王 桂芳"),
    ("male", ["建"], "欧阳", "陈 丽"),
    ("female", ["はるか"], "小田島", "菊池 節子"),
    ("female", ["서윤"], "남궁", "박 영자"),
    ("male", ["Αλέξης"], "Παπαδάκης", "Ελένη Γαλάνη"),
    ("female", ["Ольга", "Павловна"], "Ветрова", "Нина Лугова"),
    ("male", ["Тарас"], "Гнатюк", "Ганна Мороз"),
    ("female", ["ليلى"], "الحداد", "سعاد كرم"),
    ("male", ["हरीश"], "पटवर्धन", "सुनीता भट्ट"),
]

# Latin spelling carried as a second name ("usual") by some of the above
LATIN_SPELLING = {
    "李": ("Xiuying", "Li"),
    "Παπαδάκης": ("Alexis", "Papadakis"),
    "Ветрова": ("Olga", "Vetrova"),
}

# ------------------------------------------------------------- address lists

TOWNS = [   # invented towns; state and the first three ZIP digits agree
    ("Alder Crossing", "OR", "974"), ("Bellwether", "KS", "672"),
    ("Cobble Harbor", "ME", "045"), ("Dunmarrow", "VT", "057"),
    ("East Quillby", "MA", "013"), ("Fernhollow", "WV", "262"),
    ("Gannet Point", "RI", "028"), ("Juniper Wells", "NM", "878"),
    ("Lake Ondine", "MN", "565"), ("Mosswick", "WA", "985"),
    ("North Tamsin", "PA", "168"), ("Piñon Verde", "AZ", "859"),
    ("Port Larkin", "NJ", "080"), ("Saint Orrin", "LA", "705"),
    ("Tallgrass Junction", "NE", "688"), ("Umber Falls", "MI", "498"),
    ("Vallecito Seco", "CA", "935"), ("Winterbourne", "NH", "035"),
]
ABROAD = [  # second, older addresses; invented as well
    {"line": ["Lindenhofgasse 14"], "city": "Niederquell", "postalCode": "99999",
     "country": "DE"},
    {"line": ["ul. Źródlana 7 m. 3"], "city": "Brzozówek Górny",
     "postalCode": "00-000", "country": "PL"},
    {"line": ["2 Tidewrack Lane", "Little Ombersea"], "city": "Ombersea",
     "postalCode": "ZZ9 9ZZ", "country": "GB"},
]
STREETS = ["Amberley", "Bramblewood", "Cinder", "Driftwood", "Elderberry", "Foxglove",
           "Gristmill", "Heron", "Ironbark", "Kestrel", "Lantern", "Millrace",
           "Nuthatch", "Orchard View", "Paddock", "Quarry", "Saddlers", "Tannery",
           "Whistler's", "Yarrow", "5th", "22nd"]
STREET_KINDS = ["Street", "St", "Avenue", "Ave", "Road", "Lane", "Court", "Blvd"]
AREA_CODES = [207, 308, 413, 505, 541, 609, 707, 802, 814, 928, 989]

# ------------------------------------------------------------------ generator


class Generator:
    def __init__(self, seed):
        self.rng = random.Random(seed)
        self.used = set()
        self.order = list(range(COUNT))     # spreads the fixed names over the file
        self.rng.shuffle(self.order)
        self.minimal = self.order.index(COUNT - 1)   # never one of the fixed names
        pick = self.pick
        # Which records carry which oddity.
        self.no_ssn = pick(22)
        self.ssn_plain = pick(6, besides=self.no_ssn)
        self.no_phone = pick(16)
        self.many_phones = pick(24, besides=self.no_phone)
        self.no_marital = pick(18)
        self.no_mother = pick(28)
        self.no_birthsex = pick(8)
        self.many_mrns = pick(20)
        self.two_addresses = pick(16)
        self.multi_line = pick(34)
        self.dead = pick(18)
        self.year_only = pick(2, besides=self.dead)
        self.year_month = pick(1, besides=self.dead | self.year_only)
        self.with_prefix = pick(30)

    def pick(self, n, besides=frozenset()):
        """n record numbers, never the minimal record nor one of `besides`."""
        free = [i for i in range(COUNT) if i != self.minimal and i not in besides]
        return set(self.rng.sample(free, n))

    def unique(self, make):
        """Call make() until it gives a value not handed out before."""
        while True:
            value = make()
            if value not in self.used:
                self.used.add(value)
                return value

    # -- values

    def ssn(self):
        r = self.rng
        return self.unique(lambda: f"{r.randint(900, 998)}-{r.randint(1, 49):02}-"
                                   f"{r.randint(1, 9999):04}")

    def mrn(self):
        return self.unique(lambda: f"MRN-{self.rng.randint(1000, 99999):07}")

    def licence(self):
        return self.unique(lambda: f"S90{self.rng.randrange(10**6):06}")

    def passport(self):
        return self.unique(lambda: f"X00{self.rng.randrange(10**6):06}X")

    def phone(self):
        def make():
            area = self.rng.choice(AREA_CODES)
            last = f"555-01{self.rng.randrange(100):02}"
            forms = [f"{area}-{last}", f"({area}) {last}", f"+1-{area}-{last}", last]
            return self.rng.choices(forms, weights=[4, 3, 2, 1])[0]
        return self.unique(make)

    def given_family(self, female, group):
        women, men, families = group
        given = self.rng.choice((women if female else men).split())
        family = self.rng.choice(families.split())
        if "/" in family:
            family = family.split("/")[0 if female else 1]
        return given, family.replace("_", " ")

    def person(self, number):
        """Gender, given names, family name and mother's maiden name."""
        r = self.rng
        if number < len(FIXED):
            return FIXED[number]
        gender = r.choices(["female", "male", "other", "unknown"], [118, 115, 4, 3])[0]
        female = gender == "female" or (gender != "male" and r.random() < 0.5)
        group = r.choice(NAMES)
        given, family = self.given_family(female, group)
        givens = [given]
        if r.random() < 0.3:
            second = self.given_family(female, group)[0]
            if second != given:
                givens.append(r.choice([second, second, second[0] + "."]))
        mother_group = group if r.random() < 0.8 else r.choice(NAMES)
        mother = " ".join(self.given_family(True, mother_group))
        if r.random() < 0.15:
            mother = mother.split(" ", 1)[1]        # family name alone
        return gender, givens, family, mother

    def address(self, multi_line):
        r = self.rng
        town, state, zip3 = r.choice(TOWNS)
        lines = [f"{r.randint(1, 1999)} {r.choice(STREETS)} {r.choice(STREET_KINDS)}"]
        if multi_line:
            lines.append(r.choice(["Apt {}", "Unit {}B", "Floor {}", "# {}"])
                         .format(r.randint(1, 40)))
            if r.random() < 0.3:
                lines.insert(0, r.choice(["c/o Marigold House", "The Old Cooperage",
                                          "Gatehouse Residence"]))
        code = f"{zip3}{r.randint(0, 99):02}"
        if r.random() < 0.1:
            code += f"-{r.randint(1, 9999):04}"
        return {"line": lines, "city": town, "state": state, "postalCode": code,
                "country": "US"}

    # -- one resource

    def patient(self, i, number):
        """The record on line i, for person `number`."""
        r = self.rng
        gender, givens, family, mother = self.person(number)
        patient_id = str(uuid.UUID(int=r.getrandbits(128), version=4))
        if i == self.minimal:
            return {"resourceType": "Patient", "id": patient_id, "gender": gender}

        born = TODAY - timedelta(days=r.randint(30, 95 * 365))
        died = None
        if i in self.dead:
            died = born + timedelta(days=r.randint(1, (TODAY - born).days))
        age = ((died or TODAY) - born).days // 365
        birth_date = born.isoformat()
        if i in self.year_only:
            birth_date = birth_date[:4]
        elif i in self.year_month:
            birth_date = birth_date[:7]

        # extensions
        extensions = []
        if i not in self.no_mother:
            extensions.append({"url": EXT + "patient-mothersMaidenName",
                               "valueString": mother})
        if i not in self.no_birthsex:
            sex = {"female": "F", "male": "M"}.get(gender) or r.choice(["F", "M", "UNK"])
            extensions.append({"url": US_CORE + "us-core-birthsex", "valueCode": sex})

        # identifiers
        identifiers = [identifier("MR", self.mrn())]
        if i in self.many_mrns:
            for system in r.sample(OTHER_MRN_SYSTEMS, r.choice([1, 1, 2])):
                identifiers.append(identifier("MR", self.mrn(), system))
        if i not in self.no_ssn:
            ssn = self.ssn()
            identifiers.append(identifier(
                "SS", ssn.replace("-", "") if i in self.ssn_plain else ssn))
        if age >= 17 and r.random() < 0.50:
            identifiers.append(identifier("DL", self.licence()))
        if age >= 12 and r.random() < 0.32:
            identifiers.append(identifier("PPN", self.passport()))

        # marital status
        marital = "S"
        if age >= 21:
            marital = r.choices("SMDW", [30, 50, 12, 8 if age > 45 else 1])[0]

        # names
        name = {"use": "official"}
        if family:
            name["family"] = family
        name["given"] = givens
        if i in self.with_prefix and age >= 20 and family:
            name["prefix"] = [r.choice(["Dr.", {"female": "Ms.", "male": "Mr."}
                                        .get(gender, "Mx.")])]
        names = [name]
        if family in LATIN_SPELLING:
            latin_given, latin_family = LATIN_SPELLING[family]
            names.append({"use": "usual", "family": latin_family, "given": [latin_given]})
        elif gender == "female" and marital != "S" and number >= len(FIXED) \
                and r.random() < 0.4:
            maiden = self.given_family(True, r.choice(NAMES))[1]
            if maiden != family:
                names.append({"use": "maiden", "family": maiden, "given": givens})

        # telephones
        telecom = []
        if i not in self.no_phone:
            telecom.append({"system": "phone", "value": self.phone(), "use": "home"})
        if i in self.many_phones:
            for use in r.sample(["work", "mobile"], r.choice([1, 2])):
                telecom.append({"system": "phone", "value": self.phone(), "use": use})

        # addresses
        addresses = [self.address(i in self.multi_line)]
        if i in self.two_addresses:
            addresses[0]["use"] = "home"
            second = r.choice(ABROAD) if r.random() < 0.3 else self.address(False)
            addresses.append({**second, "use": "old"})

        patient = {"resourceType": "Patient", "id": patient_id}
        if extensions:
            patient["extension"] = extensions
        patient["identifier"] = identifiers
        patient["name"] = names
        if telecom:
            patient["telecom"] = telecom
        patient["gender"] = gender
        patient["birthDate"] = birth_date
        if died:
            clock = f"{r.randrange(24):02}:{r.randrange(60):02}:{r.randrange(60):02}"
            patient["deceasedDateTime"] = f"{died}T{clock}-05:00"
        patient["address"] = addresses
        if i not in self.no_marital:
            patient["maritalStatus"] = {"coding": [
                {"system": V3_MARITAL, "code": marital, "display": MARITAL[marital]}]}
        return patient

    def patients(self):
        return [self.patient(i, number) for i, number in enumerate(self.order)]


def identifier(code, value, system=None):
    text, usual_system = IDENTIFIERS[code]
    return {"type": {"coding": [{"system": V2_0203, "code": code, "display": text}]},
            "system": system or usual_system, "value": value}


def main():
    default = Path(__file__).with_name("patients.ndjson")
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else default
    lines = [json.dumps(p, ensure_ascii=False, separators=(",", ":")) + "\n"
             for p in Generator(SEED).patients()]
    data = "".join(lines).encode("utf-8")
    target.write_bytes(data)
    print(f"{target}: {len(lines)} records, {len(data)} bytes")


if __name__ == "__main__":
    main()
