//! The service as its callers see it, on a real store.

use banyan::prelude::*;
use banyan::store::StoreOptions;
use banyan_identity::{TOKEN_EXPIRED, TOKEN_KEY_UNKNOWN, Verifier, VerifierOptions};
use shop_contracts::users::v1::*;
use shop_users::{CREDENTIALS_INVALID, MIGRATIONS, Settings, Users};
use tempfile::TempDir;

const NOW_MS: u64 = 1_800_000_000_000;
const SEED: u64 = 7;

/// The service on a store of its own, in simulated time.
struct Fixture {
    users: Users,
    store: Store,
    env: Env,
    folder: TempDir,
}

impl Fixture {
    async fn new() -> Self {
        Self::with("").await
    }

    async fn with(settings: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        Self::open(folder, Env::simulated(SEED, NOW_MS), settings).await
    }

    async fn open(folder: TempDir, env: Env, settings: &str) -> Self {
        // The password hashes of a test may be cheap.
        let cheap = "passwords = { memory_kib = 8, iterations = 1 }\n";
        let settings: Settings =
            toml::from_str(&format!("{cheap}{settings}")).expect("the settings are valid");
        let options = StoreOptions::new("users", env.clone());
        let store = Store::open(folder.path().join("users.db"), options).await.expect("the store opens");
        store.migrate("users", MIGRATIONS).await.expect("the migrations apply");
        let cx = Context::new(&env, Identity::service("users"));
        let users = Users::start(&cx, store.clone(), settings).await.expect("the service starts");
        Self { users, store, env, folder }
    }

    /// Stops the service and starts it again on the same store.
    async fn restarted(self, settings: &str) -> Self {
        self.store.close().await.expect("the store closes");
        Self::open(self.folder, self.env, settings).await
    }

    fn anonymous(&self) -> Context {
        Context::new(&self.env, Identity::anonymous())
    }

    fn as_user(&self, user_id: &str) -> Context {
        Context::new(&self.env, Identity::user(user_id, &[]))
    }

    async fn register(&self, email: &str) -> Result<User> {
        self.users.register(&self.anonymous(), registration(email)).await
    }

    async fn login(&self, email: &str, password: &str) -> Result<LoginResponse> {
        let request = LoginRequest { email: email.into(), password: password.into() };
        self.users.login(&self.anonymous(), request).await
    }

    /// Returns a verifier with the keys that the service publishes now.
    async fn verifier(&self) -> Verifier {
        let options =
            VerifierOptions { issuer: "shop".into(), audience: "shop".into(), leeway_s: 60, cache_max: 0 };
        let verifier = Verifier::new(options, self.env.clock.clone());
        let jwks =
            self.users.list_keys(&self.anonymous(), ListKeysRequest {}).await.expect("keys are public");
        let keys = jwks.keys.into_iter().map(|key| banyan_identity::Jwk {
            kty: key.kty,
            crv: key.crv,
            x: key.x,
            kid: key.kid,
            alg: key.alg,
            usage: key.r#use,
        });
        verifier.set_keys(&banyan_identity::Jwks { keys: keys.collect() });
        verifier
    }

    /// Returns the e-mail addresses of the `UserRegistered` events that wait to be sent.
    async fn announced(&self) -> Vec<String> {
        let events = self.store.outbox().pending(1000).await.expect("the outbox can be read");
        events.iter().map(|event| event.decode::<UserRegistered>().expect("no other events").email).collect()
    }
}

fn registration(email: &str) -> RegisterRequest {
    RegisterRequest {
        email: email.into(),
        name: "Ann".into(),
        password: "correct horse".into(),
        country: "France".into(),
    }
}

fn imported(email: &str) -> ImportUsersRequest {
    let RegisterRequest { email, name, password, country } = registration(email);
    ImportUsersRequest { email, name, password, country }
}

fn minutes(minutes: u64) -> Duration {
    Duration::from_secs(minutes * 60)
}

#[tokio::test]
async fn whoever_registers_can_log_in_and_prove_it() {
    let it = Fixture::new().await;
    let user = it.register("Ann@Example.com").await.unwrap();
    assert_eq!((user.email.as_str(), user.name.as_str()), ("ann@example.com", "Ann"));
    assert!(user.roles.is_empty());
    assert_eq!(it.announced().await, ["ann@example.com"]);

    let login = it.login("ANN@example.com", "correct horse").await.unwrap();
    assert_eq!(login.user_id, user.user_id);
    let lifetime_s = login.expires_at.unwrap().seconds as u64 - it.env.clock.unix_ms() / 1000;
    assert!((899..=900).contains(&lifetime_s), "{lifetime_s}");
    let identity = it.verifier().await.verify(&login.access_token).unwrap();
    assert_eq!(identity, Identity::user(&user.user_id, &[]));
}

#[tokio::test]
async fn an_address_has_one_account() {
    let it = Fixture::new().await;
    it.register("ann@example.com").await.unwrap();
    assert_eq!(it.register("ANN@EXAMPLE.COM").await.unwrap_err().code(), Code::AlreadyExists);
    assert_eq!(it.announced().await.len(), 1);
}

#[tokio::test]
async fn two_who_register_the_same_address_at_once_do_not_both_succeed() {
    let it = Fixture::new().await;
    let (a, b) = tokio::join!(it.register("ann@example.com"), it.register("ann@example.com"));
    assert_eq!(a.is_ok() as u32 + b.is_ok() as u32, 1);
    assert_eq!(it.announced().await.len(), 1);
}

#[tokio::test]
async fn a_repeated_registration_gets_the_first_answer() {
    let it = Fixture::new().await;
    let cx = it.anonymous().with_idempotency_key("k-1");
    let first = it.users.register(&cx, registration("ann@example.com")).await.unwrap();
    let again = it.users.register(&cx, registration("ann@example.com")).await.unwrap();
    assert_eq!(first, again);
    assert_eq!(it.announced().await.len(), 1);

    let other = it.users.register(&cx, registration("bob@example.com")).await.unwrap_err();
    assert_eq!(other.reason(), "IDEMPOTENCY_KEY_REUSED");
}

#[tokio::test]
async fn the_password_is_not_part_of_what_a_repeat_is_recognised_by() {
    let it = Fixture::new().await;
    let register = |password: &str| {
        let cx = it.anonymous().with_idempotency_key("k-1");
        let request = RegisterRequest { password: password.into(), ..registration("ann@example.com") };
        let users = it.users.clone();
        async move { users.register(&cx, request).await }
    };
    let first = register("correct horse").await.unwrap();
    // The store keeps a fast hash of the request. If it covered the password, the password could be guessed by it.
    assert_eq!(register("another horse").await.unwrap(), first);
    assert!(it.login("ann@example.com", "another horse").await.is_err());
}

#[tokio::test]
async fn a_bad_registration_names_the_field_and_changes_nothing() {
    let it = Fixture::new().await;
    let good = registration("ann@example.com");
    for (field, bad) in [
        ("email", RegisterRequest { email: "ann".into(), ..good.clone() }),
        ("name", RegisterRequest { name: String::new(), ..good.clone() }),
        ("password", RegisterRequest { password: "short".into(), ..good.clone() }),
        ("country", RegisterRequest { country: "x".repeat(61), ..good.clone() }),
    ] {
        let error = it.users.register(&it.anonymous(), bad).await.unwrap_err();
        assert_eq!((error.code(), error.violations()[0].field.as_str()), (Code::InvalidArgument, field));
    }
    assert!(it.announced().await.is_empty());
    assert!(it.register("ann@example.com").await.is_ok());
}

#[tokio::test]
async fn a_failed_login_does_not_tell_whether_the_account_exists() {
    let it = Fixture::new().await;
    it.register("ann@example.com").await.unwrap();
    let wrong = it.login("ann@example.com", "wrong horse").await.unwrap_err();
    let unknown = it.login("bob@example.com", "wrong horse").await.unwrap_err();
    assert!(wrong.is(CREDENTIALS_INVALID));
    assert_eq!(wrong.code(), Code::Unauthenticated);
    assert_eq!(wrong.to_string(), unknown.to_string());

    for (field, email, password) in [("email", "ann", "x"), ("password", "ann@example.com", "")] {
        assert_eq!(it.login(email, password).await.unwrap_err().violations()[0].field, field);
    }
}

#[tokio::test]
async fn an_account_of_somebody_else_cannot_be_told_from_none() {
    let it = Fixture::new().await;
    let ann = it.register("ann@example.com").await.unwrap();
    let request = GetUserRequest { user_id: ann.user_id.clone() };
    let get = |cx: Context| {
        let (users, request) = (it.users.clone(), request.clone());
        async move { users.get_user(&cx, request).await }
    };
    assert_eq!(get(it.as_user(&ann.user_id)).await.unwrap(), ann);
    let admin = Context::new(&it.env, Identity::user("root", &["admin".into()]));
    assert_eq!(get(admin).await.unwrap(), ann);

    assert_eq!(get(it.as_user("bob")).await.unwrap_err().code(), Code::NotFound);
    let none = it.users.get_user(&it.as_user("bob"), GetUserRequest { user_id: "no".into() }).await;
    assert_eq!(none.unwrap_err().code(), Code::NotFound);
}

#[tokio::test]
async fn tokens_survive_a_rotation_and_end_with_their_time() {
    let it = Fixture::new().await;
    it.register("ann@example.com").await.unwrap();
    let before = it.login("ann@example.com", "correct horse").await.unwrap().access_token;
    let known_before = it.verifier().await;

    let rotated = it.users.rotate_keys(&it.anonymous(), RotateKeysRequest {}).await.unwrap();
    let after = it.login("ann@example.com", "correct horse").await.unwrap().access_token;
    assert!(known_before.verify(&after).is_ok(), "the key {} was announced before it signed", rotated.kid);
    let known_after = it.verifier().await;
    assert!(known_after.verify(&before).is_ok());

    // From here on only the clock matters. Real work and paused time do not mix, so the pause begins late.
    tokio::time::pause();
    tokio::time::advance(minutes(17)).await;
    assert!(known_after.verify(&before).unwrap_err().is(TOKEN_EXPIRED));
    tokio::time::resume();
    assert!(it.verifier().await.verify(&before).unwrap_err().is(TOKEN_KEY_UNKNOWN), "no longer announced");
}

#[tokio::test]
async fn a_repeated_rotation_rotates_once() {
    let it = Fixture::new().await;
    let cx = it.anonymous().with_idempotency_key("k-1");
    let first = it.users.rotate_keys(&cx, RotateKeysRequest {}).await.unwrap();
    assert_eq!(it.users.rotate_keys(&cx, RotateKeysRequest {}).await.unwrap(), first);
    let other = it.users.rotate_keys(&it.anonymous(), RotateKeysRequest {}).await.unwrap();
    assert_ne!(other.kid, first.kid);
}

#[tokio::test]
async fn keys_rotate_when_they_are_old_enough() {
    let it = Fixture::with("key_rotation_hours = 2").await;
    let kids = || async {
        let jwks = it.users.list_keys(&it.anonymous(), ListKeysRequest {}).await.unwrap();
        let mut kids: Vec<_> = jwks.keys.into_iter().map(|key| key.kid).collect();
        kids.sort();
        kids
    };
    let first = kids().await;
    assert_eq!(first.len(), 2, "one signs, the next is announced");
    it.users.keep_keys_fresh(&it.anonymous()).await.unwrap();
    assert_eq!(kids().await, first);

    tokio::time::pause();
    tokio::time::advance(minutes(2 * 60)).await;
    tokio::time::resume();
    it.users.keep_keys_fresh(&it.anonymous()).await.unwrap();
    let second = kids().await;
    assert_eq!(second.len(), 3);
    assert!(first.iter().all(|kid| second.contains(kid)));
}

#[tokio::test]
async fn a_restart_keeps_accounts_and_keys() {
    let it = Fixture::new().await;
    it.register("ann@example.com").await.unwrap();
    let token = it.login("ann@example.com", "correct horse").await.unwrap().access_token;
    let it = it.restarted("").await;
    assert!(it.verifier().await.verify(&token).is_ok());
    assert!(it.login("ann@example.com", "correct horse").await.is_ok());
}

#[tokio::test]
async fn the_administrator_is_made_once_and_never_changed() {
    let settings = "admin = { email = 'Root@shop.example', password = 'correct horse' }";
    let it = Fixture::with(settings).await;
    let login = it.login("root@shop.example", "correct horse").await.unwrap();
    let identity = it.verifier().await.verify(&login.access_token).unwrap();
    assert!(identity.has_role("admin"));

    let it = it.restarted("admin = { email = 'root@shop.example', password = 'another horse' }").await;
    assert!(it.login("root@shop.example", "correct horse").await.is_ok());
    assert!(it.login("root@shop.example", "another horse").await.is_err());
}

#[tokio::test]
async fn an_import_can_be_repeated() {
    let it = Fixture::new().await;
    it.register("user-7@example.com").await.unwrap();
    let people: Vec<_> = (0..250).map(|i| imported(&format!("user-{i}@example.com"))).collect();
    let cx = it.anonymous();
    let first = it.users.import_users(&cx, Streaming::of(people.clone())).await.unwrap();
    assert_eq!((first.imported, first.skipped), (249, 1));
    let again = it.users.import_users(&cx, Streaming::of(people)).await.unwrap();
    assert_eq!((again.imported, again.skipped), (0, 250));
    assert_eq!(it.announced().await.len(), 250);
    assert!(it.login("user-249@example.com", "correct horse").await.is_ok());

    let twice = vec![imported("twin@example.com"), imported("TWIN@example.com")];
    let twice = it.users.import_users(&cx, Streaming::of(twice)).await.unwrap();
    assert_eq!((twice.imported, twice.skipped), (1, 1));
}

#[tokio::test]
async fn a_bad_account_in_an_import_is_named() {
    let it = Fixture::new().await;
    let bad = ImportUsersRequest { password: "short".into(), ..imported("b@example.com") };
    let people = vec![imported("a@example.com"), bad];
    let error = it.users.import_users(&it.anonymous(), Streaming::of(people)).await.unwrap_err();
    assert_eq!(error.violations()[0].field, "[1].password");
}
