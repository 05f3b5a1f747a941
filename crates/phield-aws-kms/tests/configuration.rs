//! The provider from entries of `phield.toml`.
#![allow(clippy::unwrap_used, reason = "clippy allows it in the test functions alone")]

use std::path::Path;

use phield_aws_kms::AwsKmsFactory;
use phield_core::ProviderFactory as _;
use phield_core::config::ProviderConfig;

const KEKS: &str =
    r#"keks = ["arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"]"#;

async fn open(entries: &str) -> Result<String, String> {
    let config: ProviderConfig = toml::from_str(&format!("name = \"aws-kms\"\n{entries}")).unwrap();
    let opened = AwsKmsFactory::new().open(&config, Path::new("")).await;
    opened
        .map(|provider| format!("{provider:?}"))
        .map_err(|error| error.to_string())
}

#[tokio::test]
async fn entries() {
    for good in [
        "",
        "region = \"eu-west-1\"\nprofile = \"phield\"\ntimeout_ms = 5000\nattempts = 2",
        "endpoint_url = \"https://kms-fips.eu-central-1.amazonaws.com\"\ngrant_tokens = [\"secret\"]",
    ] {
        let opened = open(&format!("{KEKS}\n{good}")).await;
        assert_eq!(
            opened.unwrap(),
            r#"AwsKmsProvider { name: "aws-kms", .. }"#,
            "{good}"
        );
    }
}

#[tokio::test]
async fn wrong_entries() {
    for (entries, message) in [
        (format!("{KEKS}\nregio = \"eu-west-1\""), "unknown field"),
        (format!("{KEKS}\ntimeout_ms = 10"), "timeout_ms is 100 to 60000"),
        (format!("{KEKS}\nattempts = 0"), "attempts is 1 to 10"),
        (
            format!("{KEKS}\nendpoint_url = \"http://secret.example\""),
            "endpoint_url is an https URL",
        ),
        (
            format!("{KEKS}\nendpoint_url = \"https://user:secret@kms.example\""),
            "endpoint_url is an https URL",
        ),
        ("keks = [\"alias/secret\"]".to_owned(), "by its key ARN"),
        (format!("{KEKS}\nmac_keys = [\"secret\"]"), "by its key ARN"),
        (
            format!("{KEKS}\ngrant_tokens = \"secret\""),
            "expected a sequence",
        ),
    ] {
        let error = open(&entries).await.unwrap_err();
        assert!(error.contains(message) && error.contains("aws-kms"), "{error}");
        assert!(!error.contains("secret"), "{error}");
    }
}
