//! What is tried with codes. Each takes the browser, so as few as possible are asked for.

use super::{
    client::Client,
    outcome::{Accepted, First, Granted, Replayed, Round, Trials},
};
use crate::{
    context::Context,
    message::{Exchange, Request},
    model::Unmet,
};

/// Something that must not get a token, though it comes with a good code.
struct Attempt {
    /// The check that it is for.
    check: &'static str,
    /// Another value for a parameter; if empty, the parameter is left out.
    change: Option<(&'static str, &'static str)>,
}

const ATTEMPTS: [Attempt; 5] = [
    Attempt { check: "FLOW-09", change: Some(("code_verifier", "auth-check-has-another-verifier-than-this-one-here")) },
    Attempt { check: "FLOW-10", change: Some(("code_verifier", "")) },
    Attempt { check: "FLOW-12", change: Some(("redirect_uri", "http://127.0.0.1/auth-check/elsewhere")) },
    Attempt { check: "FLOW-15", change: None },
    Attempt { check: "FLOW-17", change: Some(("resource", "https://another.auth-check.example/mcp")) },
];

/// A token request (RFC 6749 §4.1.3) for a code.
struct Form(Vec<(&'static str, String)>);

impl Form {
    fn new(code: String, round: &Round, resource: String) -> Self {
        Form(vec![
            ("grant_type", "authorization_code".to_owned()),
            ("code", code),
            ("redirect_uri", round.question.redirect_uri.to_string()),
            ("code_verifier", round.question.verifier.clone()),
            ("resource", resource),
        ])
    }

    fn changed(&self, change: Option<(&str, &'static str)>) -> Vec<(&str, &str)> {
        let value = |name: &str, own| change.filter(|(changed, _)| *changed == name).map_or(own, |(_, other)| other);
        let all = self.0.iter().map(|(name, own)| (*name, value(name, own)));
        all.filter(|(_, value)| !value.is_empty()).collect()
    }
}

impl Context {
    /// The first log-in.
    ///
    /// # Errors
    /// If nobody logs in.
    pub async fn first(&self) -> Result<&First, Unmet> {
        let first = self.login()?.first.get_or_init(async || {
            let round = self.round("to log in").await?;
            let exchange = match round.code() {
                Ok(code) => Some(self.redeem(self.own_client().await?, &self.form(&round, code).await?, None).await?),
                Err(_) => None,
            };
            let granted = exchange.as_ref().and_then(Granted::of);
            Ok(First { round, exchange, granted })
        });
        first.await.as_ref().map_err(Clone::clone)
    }

    /// What the first log-in gave.
    ///
    /// # Errors
    /// If that is nothing.
    pub async fn granted(&self) -> Result<Granted, Unmet> {
        let granted = self.first().await?.granted.clone();
        granted.ok_or_else(|| Unmet("a log-in that ends with a token".to_owned()))
    }

    /// The access token of the first log-in, or of one more if that has expired: a run takes as long as the people who log in.
    ///
    /// # Errors
    /// If there is none.
    pub async fn good_token(&self) -> Result<String, Unmet> {
        let mut good = self.login()?.good.lock().await;
        let granted = match good.take() {
            Some(granted) => granted,
            None => self.granted().await?,
        };
        let granted = if granted.is_over() { self.more("for a token that has not expired").await? } else { granted };
        Ok(good.insert(granted).access_token.clone())
    }

    /// The tokens of one more log-in.
    ///
    /// # Errors
    /// If there are none.
    pub async fn more(&self, why: &str) -> Result<Granted, Unmet> {
        self.spend(&self.fresh(why).await?).await
    }

    /// The tokens of a log-in that asks for these scopes and no others.
    ///
    /// # Errors
    /// If there are none.
    pub async fn granted_for(&self, scopes: &str) -> Result<Granted, Unmet> {
        let round = self.round_for(&[("scope", scopes)], "for a token with fewer scopes").await?;
        let code = round.code()?;
        self.spend(&self.form(&round, code).await?).await
    }

    /// A token request with a code of one more log-in.
    ///
    /// # Errors
    /// If there is none.
    pub async fn token_request(&self, why: &str) -> Result<Request, Unmet> {
        let form = self.fresh(why).await?;
        Ok(self.own_client().await?.request(&self.endpoints().await?.token, &form.changed(None)))
    }

    /// Redeems a code as its owner does.
    async fn spend(&self, form: &Form) -> Result<Granted, Unmet> {
        let granted = Granted::of(&self.redeem(self.own_client().await?, form, None).await?);
        granted.ok_or_else(|| Unmet("a second log-in that ends with a token".to_owned()))
    }

    async fn fresh(&self, why: &str) -> Result<Form, Unmet> {
        let round = self.round(why).await?;
        let code = round.code()?;
        self.form(&round, code).await
    }

    async fn form(&self, round: &Round, code: String) -> Result<Form, Unmet> {
        Ok(Form::new(code, round, self.purpose().await?.audience))
    }

    async fn redeem(
        &self,
        client: &Client,
        form: &Form,
        change: Option<(&str, &'static str)>,
    ) -> Result<Exchange, Unmet> {
        self.ask_for_token(client, &form.changed(change)).await
    }

    /// What came of the attempt that is for this check.
    ///
    /// # Errors
    /// If it could not be made.
    pub async fn attempted(&self, check: &str) -> Accepted {
        let found = self.trials().await?.accepted.iter().find(|(of, _)| *of == check);
        found.map_or_else(|| Err(Unmet("an attempt".to_owned())), |(_, accepted)| accepted.clone())
    }

    /// What came of all attempts.
    ///
    /// # Errors
    /// If not even the first log-in gave a token.
    pub async fn trials(&self) -> Result<&Trials, Unmet> {
        let trials = self.login()?.trials.get_or_init(async || {
            self.granted().await?;
            let mut accepted = Vec::new();
            let mut pending: Vec<&Attempt> = ATTEMPTS.iter().collect();
            if let Err(unmet) = self.other_client().await {
                pending.retain(|attempt| attempt.change.is_some());
                accepted.push(("FLOW-15", Err(unmet)));
            }
            let mut used = None;
            while !pending.is_empty() {
                match self.try_one_code(&mut pending, &mut accepted).await {
                    Ok(form) => used = form.or(used),
                    Err(unmet) => {
                        accepted.extend(pending.drain(..).map(|attempt| (attempt.check, Err(unmet.clone()))));
                    }
                }
            }
            Ok(Trials { accepted, replayed: self.replay(used).await })
        });
        trials.await.as_ref().map_err(Clone::clone)
    }

    /// Makes all attempts with one code, and then uses it as its owner would: only if that works, or one of them did, was
    /// the code alive all the time. Many servers drop a code after a failed try: then only the first attempt says anything,
    /// and the others need a code of their own. What the owner got, if it comes to that.
    async fn try_one_code(
        &self,
        pending: &mut Vec<&Attempt>,
        accepted: &mut Vec<(&'static str, Accepted)>,
    ) -> Result<Option<(Form, Granted)>, Unmet> {
        let form = self.fresh("to try bad token requests").await?;
        let mut tried = 0;
        for attempt in pending.iter() {
            let client = if attempt.change.is_some() { self.own_client().await? } else { self.other_client().await? };
            let exchange = self.redeem(client, &form, attempt.change).await?;
            if Granted::of(&exchange).is_some() {
                accepted.extend(pending.drain(..tried).map(|attempt| (attempt.check, Ok(None))));
                accepted.push((pending.remove(0).check, Ok(Some(exchange))));
                return Ok(None);
            }
            tried += 1;
        }
        let granted = Granted::of(&self.redeem(self.own_client().await?, &form, None).await?);
        let conclusive = if granted.is_some() { tried } else { 1 };
        accepted.extend(pending.drain(..conclusive).map(|attempt| (attempt.check, Ok(None))));
        Ok(granted.map(|granted| (form, granted)))
    }

    /// Uses a code twice, the second time as well as the first: a server may end tokens only if the second request is good.
    async fn replay(&self, used: Option<(Form, Granted)>) -> Result<Replayed, Unmet> {
        let client = self.own_client().await?;
        let (form, granted) = if let Some(used) = used {
            used
        } else {
            let form = self.fresh("to use a code twice").await?;
            let granted = self.spend(&form).await?;
            (form, granted)
        };
        let again = self.redeem(client, &form, None).await?;
        let refreshed = match granted.refresh_token() {
            Ok(token) => self.refresh(client, token, None).await,
            Err(unmet) => Err(unmet),
        };
        Ok(Replayed { again, refreshed })
    }
}
