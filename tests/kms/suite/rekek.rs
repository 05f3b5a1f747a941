//! Every key of a ring from one key of KMS to another: three calls a key and a few for the ring key, as many at a time as
//! allowed, resumed after an outage. `PHIELD_TEST_REKEK_KEYS=10000` for the number of the issue; a few minutes.
#![allow(clippy::print_stdout, reason = "the figures of a run")]

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use phield::{
    AppName, FileStore, KekReference, ProviderName, Ring, RingName, RingSettings, ScopeName, Suite,
};
use phield_aws_kms::AwsKmsProvider;
use phield_core::{AllowedProvider, KeyContext, KeyMaterial, KeyProvider, ProviderFuture, Rekek};
use phield_kms_tests::Emulator::{Ministack, Moto};
use phield_kms_tests::{Kms, REGION, context, key_material};
use phield_testkit::servers::Fault;
use tempfile::TempDir;

/// Keys that a scope has: a data key, its successor, a pepper.
const KEYS_OF_A_SCOPE: usize = 3;
/// Keys without a scope: ring, UID, subject.
const OTHER_KEYS: usize = 3;

fn aws_kms() -> ProviderName {
    ProviderName::from_static("aws-kms")
}

/// A published ring of about so many keys under the first of two keys of KMS; how many they are.
async fn ring(kms: &Kms, keks: [&KekReference; 2], keys: usize) -> (Ring, TempDir, usize) {
    let folder = tempfile::tempdir().unwrap();
    let mut settings = RingSettings::new(
        AppName::from_static("emr"),
        RingName::from_static("emr-test"),
        vec![kms.allowed(&[keks[0]])],
    );
    let scopes: Vec<_> = (0..(keys - OTHER_KEYS).div_ceil(KEYS_OF_A_SCOPE))
        .map(|scope| {
            (
                Some(ScopeName::new(format!("t{scope}")).unwrap()),
                Suite::Aes256Gcm,
            )
        })
        .collect();
    let new = Ring::generate(&mut settings, &scopes).await.unwrap();
    settings.providers = vec![kms.allowed(&keks)];
    let ring = Ring::new(settings, FileStore::new(folder.path().join("ring.phield")), None);
    ring.publish(&new).await.unwrap();
    (ring, folder, new.manifest().records.len())
}

fn to(keks: [&KekReference; 2]) -> Rekek {
    Rekek::new((aws_kms(), keks[0].clone()), (aws_kms(), keks[1].clone()))
}

/// A provider, and for how long at least one call of it was under way.
#[derive(Debug)]
struct Watched {
    inner: AwsKmsProvider,
    under_way: Mutex<(usize, Option<Instant>, Duration)>,
}

impl Watched {
    async fn watch<T>(&self, call: impl Future<Output = T>) -> T {
        {
            let mut state = self.under_way.lock().unwrap();
            state.0 += 1;
            state.1.get_or_insert_with(Instant::now);
        }
        let answer = call.await;
        let mut state = self.under_way.lock().unwrap();
        state.0 -= 1;
        if state.0 == 0 {
            let begun = state.1.take().unwrap();
            state.2 += begun.elapsed();
        }
        answer
    }

    fn busy(&self) -> Duration {
        self.under_way.lock().unwrap().2
    }
}

impl KeyProvider for Watched {
    fn name(&self) -> &ProviderName {
        self.inner.name()
    }

    fn wrap<'a>(
        &'a self,
        kek: &'a KekReference,
        context: &'a KeyContext,
        key: &'a KeyMaterial,
    ) -> ProviderFuture<'a, Vec<u8>> {
        Box::pin(self.watch(self.inner.wrap(kek, context, key)))
    }

    fn unwrap<'a>(
        &'a self,
        kek: &'a KekReference,
        context: &'a KeyContext,
        wrapped: &'a [u8],
    ) -> ProviderFuture<'a, KeyMaterial> {
        Box::pin(self.watch(self.inner.unwrap(kek, context, wrapped)))
    }
}

/// Every key has one wrap, under this one.
async fn all_under(ring: &Ring, kek: &KekReference) {
    for record in &ring.load().await.unwrap().manifest().records {
        assert_eq!(record.wraps.len(), 1);
        assert_eq!(&record.wraps[0].kek, kek);
    }
}

/// Calls in a second of nothing but the same calls, as many at a time.
async fn bare_rate(kms: &Kms, keks: [&KekReference; 2], keys: usize) -> f64 {
    use futures_util::stream::{self, StreamExt as _};
    let allowed = kms.allowed(&keks);
    let provider = allowed.provider();
    let made = stream::iter(1..=keys).map(|id| async move {
        let context = context(u32::try_from(id).unwrap());
        let wrap = provider.wrap(keks[0], &context, &key_material(1)).await;
        (context, wrap.unwrap())
    });
    let made: Vec<_> = made.buffer_unordered(16).collect().await;
    let begun = Instant::now();
    let calls = stream::iter(&made).map(|(context, wrap)| async move {
        let key = provider.unwrap(keks[0], context, wrap).await.unwrap();
        let wrap = provider.wrap(keks[1], context, &key).await.unwrap();
        provider.unwrap(keks[1], context, &wrap).await.unwrap();
    });
    calls.buffer_unordered(16).collect::<()>().await;
    3.0 * keys as f64 / begun.elapsed().as_secs_f64()
}

#[tokio::test]
async fn a_ring_of_many_keys_moves_to_another_key_of_kms() {
    let wanted = std::env::var("PHIELD_TEST_REKEK_KEYS").map_or(150, |keys| keys.parse().unwrap());
    let kms = Moto.kms();
    let (first, second) = (kms.key(REGION).await, kms.key(REGION).await);
    let keks = [&first, &second];
    let bare = bare_rate(&kms, keks, (wanted / 20).max(50)).await;
    let (mut ring, _folder, keys) = ring(&kms, keks, wanted).await;
    let watched = Arc::new(Watched {
        inner: kms.provider(),
        under_way: Mutex::default(),
    });
    let shared = Arc::clone(&watched) as Arc<dyn KeyProvider>;
    ring.settings.providers = vec![AllowedProvider::new(shared, keks.map(Clone::clone))];
    let (decrypts, encrypts) = (kms.proxy.calls_of("Decrypt"), kms.proxy.calls_of("Encrypt"));
    let begun = Instant::now();
    let done = ring.rekek(&to(keks), &mut |_| {}).await.unwrap();
    let seconds = begun.elapsed().as_secs_f64();
    let decrypts = kms.proxy.calls_of("Decrypt") - decrypts;
    let encrypts = kms.proxy.calls_of("Encrypt") - encrypts;
    let rate = (decrypts + encrypts) as f64 / seconds;
    let busy = watched.busy().as_secs_f64() / seconds;
    println!(
        "rekek: {keys} keys, {} calls in {seconds:.2} s, {rate:.0} calls/s, {} in flight at most; some call was under way {:.0} % of the time; the \
         calls alone, before: {bare:.0} calls/s",
        decrypts + encrypts,
        kms.proxy.most_at_once(),
        100.0 * busy
    );
    assert_eq!(
        (done.done, done.failed.len(), done.calls),
        (keys, 0, 3 * keys as u64)
    );
    assert_eq!(encrypts, keys, "one call a key");
    // The ring key is opened for every update.
    let batches = keys.div_ceil(500);
    assert!(
        (2 * keys..=2 * keys + 2 + 6 * batches).contains(&decrypts),
        "{decrypts}"
    );
    assert!(
        (8..=16).contains(&kms.proxy.most_at_once()),
        "{}",
        kms.proxy.most_at_once()
    );
    all_under(&ring, &second).await;
    // Bounded by the calls, whatever else the machine does: a rate would be that of the machine.
    assert!(busy > 0.8, "{busy}");
}

#[tokio::test]
async fn calls_are_as_many_a_second_as_they_may_be() {
    for emulator in [Moto, Ministack] {
        let kms = emulator.kms();
        let (first, second) = (kms.key(REGION).await, kms.key(REGION).await);
        let (ring, _folder, keys) = ring(&kms, [&first, &second], 6).await;
        let mut rekek = to([&first, &second]);
        rekek.calls_per_second = Some(20);
        let begun = Instant::now();
        ring.rekek(&rekek, &mut |_| {}).await.unwrap();
        let least = Duration::from_secs(1) * (3 * u32::try_from(keys).unwrap() - 1) / 20;
        assert!(begun.elapsed() >= least, "{:?} < {least:?}", begun.elapsed());
        all_under(&ring, &second).await;
    }
}

/// KMS goes away in the middle; the same command, later, does what is missing and no call twice but for the batch under way.
#[tokio::test]
async fn an_outage_in_the_middle_is_resumed() {
    let kms = Moto.kms();
    let (first, second) = (kms.key(REGION).await, kms.key(REGION).await);
    let keks = [&first, &second];
    let (ring, _folder, keys) = ring(&kms, keks, 60).await;
    let mut rekek = to(keks);
    rekek.batch = 10;
    let proxy = &kms.proxy;
    let mut is_out = false;
    let mut tell = |progress: &phield_core::RekekProgress| {
        if progress.wrapped >= 25 && !is_out {
            is_out = true;
            proxy.set(Fault::AccessDenied);
        }
    };
    let outcome = ring.rekek(&rekek, &mut tell).await;
    assert!(outcome.is_err(), "nothing of a batch could be done");
    proxy.set(Fault::None);
    let plan = ring.plan_rekek(&rekek).await.unwrap();
    assert!(plan.keys() <= keys - 20 && plan.keys() > 0, "{plan:?}");
    ring.keyring().await.unwrap();
    let encrypts = kms.proxy.calls_of("Encrypt");
    let done = ring.rekek(&rekek, &mut |_| {}).await.unwrap();
    assert_eq!((done.done, done.failed.len()), (plan.keys(), 0));
    assert_eq!(kms.proxy.calls_of("Encrypt") - encrypts, plan.to_wrap.len());
    all_under(&ring, &second).await;
    ring.keyring().await.unwrap();
}
