//! Apps: what they sign, where they are installed, and the tokens that they get for it.

mod jwt;

use super::{
    FakeGitHub, World, answer::Answer, credentials::Who, endpoints::Asked, json, requests::Sent,
    routes::Route,
};
use crate::time::{At, Instant, after, age};
use chrono::TimeDelta;
use serde_json::{Value, json};
use std::collections::HashMap;

/// How long a token of an installation is good for.
const GOOD_FOR: TimeDelta = TimeDelta::hours(1);
const KEY: &str = include_str!("app/test-key.pem");

/// An app, with the key that all apps here have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FakeApp {
    /// Its number.
    pub app_id: u64,
    /// Its client ID, which stands for the number in a JWT.
    pub client_id: String,
    /// Where it is installed.
    pub installations: Vec<FakeInstallation>,
}

/// An installation of an app.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FakeInstallation {
    /// Its number.
    pub id: u64,
    /// The login of the organisation, user or enterprise that has it. It sees what that one owns.
    pub account: String,
}

impl FakeApp {
    /// An app that is installed nowhere.
    #[must_use]
    pub fn new(app_id: u64, client_id: &str) -> Self {
        Self {
            app_id,
            client_id: client_id.into(),
            installations: Vec::new(),
        }
    }

    /// The same app, installed there too.
    #[must_use]
    pub fn installed(mut self, id: u64, account: &str) -> Self {
        let account = account.into();
        self.installations.push(FakeInstallation { id, account });
        self
    }

    fn is_issuer(&self, iss: &Value) -> bool {
        match iss {
            Value::String(iss) => *iss == self.client_id || *iss == self.app_id.to_string(),
            iss => iss.as_u64() == Some(self.app_id),
        }
    }
}

/// The apps, and what they did.
#[derive(Debug, Default)]
pub(super) struct Apps {
    apps: Vec<FakeApp>,
    tokens: HashMap<String, Minted>,
    minted: usize,
    jwts: Vec<String>,
}

/// A token of an installation.
#[derive(Debug)]
struct Minted {
    installation: u64,
    expires_at: Instant,
}

impl Apps {
    /// Puts this down if it looks like a JWT.
    pub(super) fn note_jwt(&mut self, given: &str) {
        if given.split('.').count() == 3 {
            self.jwts.push(given.into());
        }
    }

    /// The number of the app that signed this, by GitHub's clock, or why it is refused.
    pub(super) fn signed_in(&self, jwt: &str, now: Instant) -> Result<u64, &'static str> {
        let claims = jwt::read(jwt)?;
        let mut apps = self.apps.iter();
        let app = apps.find(|app| claims.get("iss").is_some_and(|iss| app.is_issuer(iss)));
        let app = app.ok_or("Integration not found")?;
        jwt::check_times(&claims, now)?;
        Ok(app.app_id)
    }

    /// The installation whose token this is, unless it has expired.
    pub(super) fn bearer(&self, token: &str, now: Instant) -> Option<u64> {
        let minted = self.tokens.get(token)?;
        let is_good = age(now, minted.expires_at) < TimeDelta::zero();
        is_good.then_some(minted.installation)
    }

    /// The account of an installation.
    pub(super) fn account(&self, id: u64) -> Option<&str> {
        let mut all = self.apps.iter().flat_map(|app| &app.installations);
        let found = all.find(|installation| installation.id == id)?;
        Some(&found.account)
    }

    fn app(&self, id: u64) -> Option<&FakeApp> {
        self.apps.iter().find(|app| app.app_id == id)
    }

    fn install(&mut self, app: FakeApp) {
        self.apps.retain(|known| known.app_id != app.app_id);
        self.apps.push(app);
        let all = self.apps.iter().flat_map(|app| &app.installations);
        let all: Vec<u64> = all.map(|installation| installation.id).collect();
        self.tokens
            .retain(|_, minted| all.contains(&minted.installation));
    }

    fn mint(&mut self, installation: u64, expires_at: Instant) -> String {
        self.minted += 1;
        let token = format!("ghs_{:036X}", self.minted);
        let minted = Minted {
            installation,
            expires_at,
        };
        self.tokens.insert(token.clone(), minted);
        token
    }
}

impl World {
    /// Carries out what only an app may ask.
    pub(super) fn carry_out_for_app(
        &mut self,
        method: &str,
        who: Who,
        route: &Route,
        asked: &Asked<'_>,
    ) -> Option<Answer> {
        let Who::App(app) = who else {
            return None;
        };
        match (method, route) {
            ("GET", Route::App) => self.app(app),
            ("GET", Route::Installation { account, of }) => {
                let is_there = |text: &String| self.truth.place(text).is_some();
                of.as_ref().is_none_or(is_there).then_some(())?;
                self.installation(app, account, asked.base)
            }
            ("POST", Route::AccessTokens(id)) => self.mint_token(app, *id, asked),
            _ => None,
        }
    }

    /// `GET /app`.
    fn app(&self, app: u64) -> Option<Answer> {
        let app = self.apps.app(app)?;
        Some(Answer::json(200, &json::app(app)))
    }

    /// `GET …/installation`, of an account.
    fn installation(&self, app: u64, account: &str, base: &str) -> Option<Answer> {
        let app = self.apps.app(app)?;
        let mut all = app.installations.iter();
        let found = all.find(|known| known.account.eq_ignore_ascii_case(account))?;
        Some(Answer::json(200, &json::installation(base, app, found)))
    }

    /// `POST /app/installations/{id}/access_tokens`.
    fn mint_token(&mut self, app: u64, id: u64, asked: &Asked<'_>) -> Option<Answer> {
        let mut all = self.apps.app(app)?.installations.iter();
        all.find(|installation| installation.id == id)?;
        let wanted = match asked.sent {
            Sent::Malformed => return Some(Answer::refusal(400, "Problems parsing JSON")),
            Sent::Json(body) => body.get("permissions").cloned(),
            Sent::Nothing | Sent::TooLong => None,
        };
        let expires_at = after(asked.now, GOOD_FOR);
        let token = self.apps.mint(id, expires_at);
        let body = json!({
            "token": token,
            "expires_at": At(self.githubs_clock(expires_at)).to_string(),
            "permissions": wanted.unwrap_or_else(json::permissions),
            "repository_selection": "all",
        });
        Some(Answer::json(201, &body))
    }
}

/// Apps.
impl FakeGitHub {
    /// Makes an app and its installations known, in place of one of its number. Installations that it
    /// no longer has are gone, with their tokens.
    pub fn install_app(&self, app: &FakeApp) {
        self.change(|world, _| world.apps.install(app.clone()));
    }

    /// The private key of all apps here, as PEM (PKCS#1, as GitHub hands it out).
    #[must_use]
    pub fn app_key() -> &'static str {
        KEY
    }

    /// All JWTs that were brought, accepted or not, in the order they came in.
    #[must_use]
    pub fn jwts(&self) -> Vec<String> {
        self.change(|world, _| world.apps.jwts.clone())
    }

    /// How many tokens were minted for installations.
    #[must_use]
    pub fn installation_tokens(&self) -> usize {
        self.change(|world, _| world.apps.minted)
    }

    /// Revokes all tokens of installations: 401 from now on.
    pub fn revoke_tokens(&self) {
        self.change(|world, _| world.apps.tokens.clear());
    }
}
