//! What the contract promises, done: [`UserService`] over the service's store.

use crate::domain::{Account, Email, Password, Profile};
use crate::{Settings, store};
use banyan::prelude::*;
use banyan_identity::{KeyRing, Passwords, Secret};
use futures::{StreamExt, TryStreamExt};
use shop_contracts::checks::of_entry;
use shop_contracts::time::timestamp;
use shop_contracts::users::v1::{
    GetUserRequest, ImportUsersRequest, ImportUsersResponse, Jwk, Jwks, ListKeysRequest, LoginRequest,
    LoginResponse, RegisterRequest, RotateKeysRequest, RotateKeysResponse, User, UserRegistered, UserService,
};

/// E-mail address and password do not belong together, or there is no such account: the answer is the same.
pub const CREDENTIALS_INVALID: Reason = Reason::new("CREDENTIALS_INVALID");

/// Accounts of an import that are written in one transaction.
const IMPORT_BATCH: usize = 100;

/// The users service.
#[derive(Clone)]
pub struct Users {
    store: Store,
    passwords: Passwords,
    settings: Settings,
}

/// An account that is to be made: everything that can be said before the transaction.
#[derive(Clone)]
struct NewAccount {
    profile: Profile,
    password_hash: String,
    is_admin: bool,
}

impl Users {
    /// Starts on `store`: makes the first keys and the administrator's account, where they are missing.
    ///
    /// # Errors
    /// If a setting cannot work, or the store fails.
    pub async fn start(cx: &Context, store: Store, settings: Settings) -> Result<Self> {
        settings.validate()?;
        let users = Self { store, passwords: Passwords::new(&settings.passwords)?, settings };
        users.keep_keys_fresh(cx).await?;
        users.ensure_admin(cx).await?;
        Ok(users)
    }

    /// Makes the first keys, and rotates them when the current one has signed long enough.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn keep_keys_fresh(&self, cx: &Context) -> Result<()> {
        let (overlap_s, period_s) = (self.settings.key_overlap_s(), self.settings.key_rotation_s());
        self.store
            .transact(cx, move |tx| {
                let now_s = tx.now_ms() / 1000;
                match store::key_ring(tx, overlap_s)? {
                    None => store::put_key_ring(tx, &KeyRing::generate(overlap_s, now_s)?),
                    Some(ring) if ring.is_due(period_s, now_s) => {
                        store::put_key_ring(tx, &ring.rotate(now_s)?)
                    }
                    Some(_) => Ok(()),
                }
            })
            .await
    }

    async fn ensure_admin(&self, cx: &Context) -> Result<()> {
        let Some(admin) = &self.settings.admin else {
            return Ok(());
        };
        let profile = Profile::new(&admin.email, &admin.name, "")?;
        let password = Password::new(admin.password.clone())?;
        if self.account_by_email(cx, &profile.email).await?.is_some() {
            return Ok(());
        }
        let password_hash = self.passwords.hash(cx, password.into_secret()).await?;
        let new = NewAccount { profile, password_hash, is_admin: true };
        self.store.transact(cx, move |tx| create(tx, new).map(|_| ())).await
    }

    async fn account_by_email(&self, cx: &Context, email: &Email) -> Result<Option<(Account, String)>> {
        let email = email.clone();
        self.store.read(cx, move |read| store::account_by_email(read, &email)).await
    }

    async fn key_ring(&self, cx: &Context) -> Result<KeyRing> {
        let overlap_s = self.settings.key_overlap_s();
        let ring = self.store.read(cx, move |read| store::key_ring(read, overlap_s)).await?;
        ring.ok_or_else(|| Error::data_loss("the signing keys are missing"))
    }

    /// Makes those accounts of `batch` that are not there yet; returns how many it made.
    async fn import(&self, cx: &Context, batch: Vec<(Profile, Password)>) -> Result<usize> {
        // Hashing is what takes time: it is not done for accounts that are there, nor inside the transaction.
        let missing = futures::stream::iter(batch).map(|(profile, password)| async move {
            if self.account_by_email(cx, &profile.email).await?.is_some() {
                return Ok(None);
            }
            let password_hash = self.passwords.hash(cx, password.into_secret()).await?;
            Ok(Some(NewAccount { profile, password_hash, is_admin: false }))
        });
        let at_once = self.settings.passwords.concurrent_max;
        let missing: Vec<Option<NewAccount>> = missing.buffered(at_once).try_collect().await?;
        self.store
            .transact(cx, move |tx| {
                let mut made = 0;
                for new in missing.into_iter().flatten() {
                    made += usize::from(create(tx, new)?.is_some());
                }
                Ok(made)
            })
            .await
    }
}

impl UserService for Users {
    async fn register(&self, cx: &Context, req: RegisterRequest) -> Result<User> {
        let RegisterRequest { email, name, password, country } = req;
        let profile = Profile::new(&email, &name, &country)?;
        let password = Password::new(password)?;
        let password_hash = self.passwords.hash(cx, password.into_secret()).await?;

        let new = NewAccount { profile, password_hash, is_admin: false };
        // A fast hash of the request is kept beside the key. It must not cover the password: it could be guessed by it.
        let request = RegisterRequest { email, name, country, password: String::new() };
        self.store
            .once(cx, "register", &request, move |tx| {
                let account = create(tx, new)?;
                let taken = || Error::already_exists("there is an account with this e-mail address");
                account.map(|account| message(&account)).ok_or_else(taken)
            })
            .await
    }

    async fn login(&self, cx: &Context, req: LoginRequest) -> Result<LoginResponse> {
        let email = Email::new(&req.email)?;
        let password = Secret::new(req.password);
        if password.expose().is_empty() {
            return Err(Error::invalid("password", "is required"));
        }
        let Some((account, password_hash)) = self.account_by_email(cx, &email).await? else {
            self.passwords.verify_dummy(cx, password).await?;
            return Err(credentials_invalid());
        };
        if !self.passwords.verify(cx, password, &password_hash).await? {
            return Err(credentials_invalid());
        }
        let now_s = cx.env().clock.unix_ms() / 1000;
        let claims = account.claims(&self.settings.token_terms(), cx.env().new_id(), now_s);
        Ok(LoginResponse {
            access_token: self.key_ring(cx).await?.sign(&claims)?,
            expires_at: Some(timestamp(claims.exp * 1000)),
            user_id: account.user_id,
        })
    }

    async fn get_user(&self, cx: &Context, req: GetUserRequest) -> Result<User> {
        let user_id = req.user_id.clone();
        let account = self.store.read(cx, move |read| store::account_by_id(read, &user_id)).await?;
        match account {
            Some(account) if account.is_visible_to(cx.identity()) => Ok(message(&account)),
            _ => Err(Error::not_found("user", &req.user_id)),
        }
    }

    async fn list_keys(&self, cx: &Context, _: ListKeysRequest) -> Result<Jwks> {
        let now_s = cx.env().clock.unix_ms() / 1000;
        let jwks = self.key_ring(cx).await?.jwks(now_s);
        let keys = jwks.keys.into_iter().map(|key| Jwk {
            kty: key.kty,
            crv: key.crv,
            x: key.x,
            kid: key.kid,
            alg: key.alg,
            r#use: key.usage,
        });
        Ok(Jwks { keys: keys.collect() })
    }

    async fn rotate_keys(&self, cx: &Context, req: RotateKeysRequest) -> Result<RotateKeysResponse> {
        let overlap_s = self.settings.key_overlap_s();
        self.store
            .once(cx, "rotate_keys", &req, move |tx| {
                let ring = store::key_ring(tx, overlap_s)?;
                let ring = ring.ok_or_else(|| Error::data_loss("the signing keys are missing"))?;
                let rotated = ring.rotate(tx.now_ms() / 1000)?;
                store::put_key_ring(tx, &rotated)?;
                Ok(RotateKeysResponse { kid: rotated.current().kid().to_owned() })
            })
            .await
    }

    async fn import_users(
        &self,
        cx: &Context,
        req: Streaming<ImportUsersRequest>,
    ) -> Result<ImportUsersResponse> {
        let mut response = ImportUsersResponse::default();
        let mut batches = req.enumerate().map(|(index, item)| checked(index, item?)).try_chunks(IMPORT_BATCH);
        while let Some(batch) = batches.next().await {
            let batch = batch.map_err(|failed| failed.1)?;
            let (sent, imported) = (batch.len(), self.import(cx, batch).await?);
            response.imported += imported as i32;
            response.skipped += (sent - imported) as i32;
        }
        Ok(response)
    }
}

/// Makes an account and announces it; `None` if its e-mail address has one.
fn create(tx: &mut Tx<'_>, new: NewAccount) -> Result<Option<Account>> {
    let NewAccount { profile, password_hash, is_admin } = new;
    let account = Account { user_id: tx.new_id(), profile, is_admin, created_at_ms: tx.now_ms() };
    if !store::insert_account(tx, &account, &password_hash)? {
        return Ok(None);
    }
    tx.publish(&UserRegistered {
        user_id: account.user_id.clone(),
        email: account.profile.email.as_str().to_owned(),
        name: account.profile.name.clone(),
        country: account.profile.country.clone(),
        registered_at: Some(timestamp(account.created_at_ms)),
    })?;
    Ok(Some(account))
}

/// Checks the account number `index` of an import; what is wrong with it is said of `[index].field`.
fn checked(index: usize, item: ImportUsersRequest) -> Result<(Profile, Password)> {
    let ImportUsersRequest { email, name, password, country } = item;
    let account = Profile::new(&email, &name, &country).and_then(|p| Ok((p, Password::new(password)?)));
    account.map_err(|error| of_entry(index, error))
}

fn message(account: &Account) -> User {
    User {
        user_id: account.user_id.clone(),
        email: account.profile.email.as_str().to_owned(),
        name: account.profile.name.clone(),
        country: account.profile.country.clone(),
        roles: account.roles(),
        created_at: Some(timestamp(account.created_at_ms)),
    }
}

fn credentials_invalid() -> Error {
    Error::new(Code::Unauthenticated, CREDENTIALS_INVALID, "e-mail address or password is wrong")
}
