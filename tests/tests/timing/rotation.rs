//! Keys that rotate: `gen-token keys` changes the folder, and the servers that sign follow it without a restart.

use std::{
    cell::{Cell, RefCell},
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use integration_tests::{Reply, Server, browser::kid, command, gen_token, text};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{task::spawn_blocking, time::sleep};

/// How long a new key waits here. Servers look into the folder every two seconds, and [`TIMES`] is two more.
const LEARN: &str = "8s";
/// How long a relying party keeps the key set.
const TIMES: [&str; 6] = ["--jwks-cooldown", "1s", "--jwks-min-age", "1s", "--jwks-max-age", "2s"];
/// Within which a server must have noticed.
const SOON: Duration = Duration::from_secs(8);
const PAIR: &str = "mcp_private_key.pem";

/// `gen-token keys`, in this folder: whether it went well, and what it said.
fn run(keys: &Path, args: &[&str]) -> Result<(bool, String)> {
    let (verb, rest) = args.split_first().context("no command")?;
    let output = command("gen-token")?.args(["keys", verb, "--keys"]).arg(keys).args(rest).output()?;
    Ok((output.status.success(), text(&output)))
}

fn good(keys: &Path, args: &[&str]) -> Result<String> {
    let (good, said) = run(keys, args)?;
    ensure!(good, "{args:?}: {said}");
    Ok(said)
}

/// The kid of the key that `rotate` has made.
fn rotate(keys: &Path, learn: &str) -> Result<String> {
    let said = good(keys, &["rotate", "--learn", learn])?;
    let line = said.lines().find(|line| line.contains(" signs from ")).context("nothing was said")?;
    Ok(line.split(' ').next().unwrap_or_default().to_owned())
}

/// What each key is used for, as `list` says.
fn states(keys: &Path) -> Result<Vec<(String, String)>> {
    let list: Value = serde_json::from_str(&good(keys, &["list", "--json"])?)?;
    let word = |key: &Value, name: &str| key[name].as_str().unwrap_or_default().to_owned();
    Ok(list.as_array().context("no list")?.iter().map(|key| (word(key, "kid"), word(key, "state"))).collect())
}

/// The files of further keys.
fn further(keys: &Path) -> Result<Vec<PathBuf>> {
    let files = fs::read_dir(keys)?.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    let is_further = |file: &PathBuf| {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with("mcp_private_key.") && name != PAIR
    };
    Ok(files.into_iter().filter(is_further).collect())
}

/// The only further key now signs since so many seconds.
fn began(keys: &Path, seconds: i64) -> Result<()> {
    let [file] = &further(keys)?[..] else { anyhow::bail!("there is not one key") };
    let time = chrono::Utc::now() - chrono::Duration::seconds(seconds);
    Ok(fs::rename(file, keys.join(format!("mcp_private_key.{}.pem", time.format("%Y%m%dT%H%M%SZ"))))?)
}

fn set_mode(path: &Path, mode: u32) -> Result<()> {
    Ok(fs::set_permissions(path, fs::Permissions::from_mode(mode))?)
}

/// The published kids.
async fn published(server: &Server) -> Result<Vec<String>> {
    let reply = Reply::of(server.get("/.well-known/jwks.json")).await?;
    ensure!(reply.header("cache-control") == "public, max-age=300", "{reply:?}");
    let keys = reply.json()["keys"].as_array().context("no keys")?.clone();
    Ok(keys.iter().filter_map(|key| key["kid"].as_str().map(str::to_owned)).collect())
}

/// Waits until this is so.
async fn until(what: &str, is_so: impl AsyncFn() -> Result<bool>) -> Result<()> {
    let started = Instant::now();
    while !is_so().await? {
        ensure!(started.elapsed() < SOON + Duration::from_secs(8), "{what}");
        sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

/// Two replicas that sign with the keys of one folder, and step 10, which trusts them.
struct World {
    folder: TempDir,
    servers: [Server; 3],
}

/// What the load has seen.
#[derive(Default)]
struct Seen {
    calls: Cell<usize>,
    refused: RefCell<Vec<String>>,
    /// The kid with which each replica signed last.
    signs: RefCell<[String; 2]>,
    stop: Cell<bool>,
}

impl World {
    fn start() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let clients = folder.path().join("clients.json");
        let client = json!([{ "client_id": "machine", "client_secret": "a secret", "grant_types": ["client_credentials"],
            "token_endpoint_auth_method": "client_secret_post", "roles": ["user"], "scope": "mcp:read mcp:tools" }]);
        fs::write(&clients, client.to_string())?;
        set_mode(&clients, 0o600)?;
        let keys = folder.path().join("keys");
        let [keys, clients] = [&keys, &clients].map(|path| path.to_str().unwrap_or_default());
        let one = Server::start_with("step12", &["--keys", keys, "--clients", clients])?;
        let args = ["--keys", keys, "--clients", clients, "--public-url", one.url()];
        let other = Server::start_with("step12", &args)?;
        let resource = format!("{}/mcp", one.url());
        let args = [&["--issuer", one.url(), "--audience", &resource][..], &TIMES].concat();
        let relying = Server::start_with("step10", &args)?;
        Ok(World { folder, servers: [one, other, relying] })
    }

    fn keys(&self) -> PathBuf {
        self.folder.path().join("keys")
    }

    /// A token, signed by one of the replicas.
    async fn token(&self, replica: usize) -> Result<String> {
        let form = "grant_type=client_credentials&client_id=machine&client_secret=a+secret";
        let request = self.servers[replica].request(reqwest::Method::POST, "/token").body(form);
        let reply = Reply::of(request.header("Content-Type", "application/x-www-form-urlencoded")).await?;
        Ok(reply.json()["access_token"].as_str().with_context(|| format!("{reply:?}"))?.to_owned())
    }

    async fn call(&self, server: usize, token: &str) -> Result<Reply> {
        let params = json!({ "name": "echo", "arguments": { "message": "hello" } });
        Reply::of(self.servers[server].modern("tools/call", params).bearer_auth(token)).await
    }

    /// Until it is told to stop: calls a tool at each server with this token, if there is one, and with new ones of either
    /// replica.
    async fn load(&self, first: Option<&str>, seen: &Seen) -> Result<()> {
        let mut tokens: Vec<_> = first.map(str::to_owned).into_iter().collect();
        while !seen.stop.get() {
            tokens.truncate(usize::from(first.is_some()));
            for replica in 0..2 {
                let token = self.token(replica).await?;
                seen.signs.borrow_mut()[replica] = kid(&token)?;
                tokens.push(token);
            }
            for token in &tokens {
                for server in 0..3 {
                    let reply = self.call(server, token).await?;
                    seen.calls.set(seen.calls.get() + 1);
                    if reply.status != 200 {
                        seen.refused.borrow_mut().push(format!("server {server}, {}: {}", kid(token)?, reply.text));
                    }
                }
            }
        }
        Ok(())
    }

    /// What this returns, under load. No call may be refused meanwhile.
    async fn under_load<T>(&self, token: Option<&str>, what: impl AsyncFnOnce(&Seen) -> Result<T>) -> Result<T> {
        let seen = Seen::default();
        let stopping = async {
            let outcome = what(&seen).await;
            // A slow machine takes longer for as many calls.
            let busy = until("there is a load", async || Ok(seen.calls.get() > 100)).await;
            seen.stop.set(true);
            outcome.and_then(|outcome| busy.map(|()| outcome))
        };
        let (load, outcome) = tokio::join!(self.load(token, &seen), stopping);
        let (refused, calls) = (seen.refused.into_inner(), seen.calls.get());
        assert!(refused.is_empty(), "{} of {calls} calls were refused: {}", refused.len(), refused[0]);
        load?;
        outcome
    }
}

#[tokio::test]
async fn a_rotation_under_load_refuses_no_good_token() -> Result<()> {
    let world = World::start()?;
    let old = world.token(0).await?;
    let (old_kid, keys) = (kid(&old)?, world.keys());
    let new_kid = world
        .under_load(Some(&old), async |seen| {
            sleep(Duration::from_secs(1)).await;
            let keys = keys.clone();
            let rotated = Instant::now(); // its wait begins after this
            let new = spawn_blocking(move || rotate(&keys, LEARN)).await??;
            until("both publish the new key, first, and sign with the old one", async || {
                let wanted = [new.clone(), old_kid.clone()];
                Ok(published(&world.servers[0]).await? == wanted && published(&world.servers[1]).await? == wanted)
            })
            .await?;
            assert_eq!(*seen.signs.borrow(), [old_kid.clone(), old_kid.clone()]);
            until("both sign with the new key", async || Ok(seen.signs.borrow().iter().all(|kid| *kid == new))).await?;
            assert!(rotated.elapsed() > Duration::from_secs(6), "it signs too early: {:?}", rotated.elapsed());
            sleep(Duration::from_secs(3)).await;
            Ok(new)
        })
        .await?;

    let both = [(old_kid.clone(), "published".to_owned()), (new_kid.clone(), "signs".to_owned())];
    assert_eq!(states(&keys)?, both);
    assert_eq!(good(&keys, &["retire"])?, "No key is due.\n");
    for kid in [&old_kid, &new_kid] {
        let (went_well, said) = run(&keys, &["retire", "--", kid])?;
        assert!(!went_well && said.contains("is not due"), "{said}");
    }
    assert_eq!(states(&keys)?, both);

    world
        .under_load(None, async |_| {
            for server in 0..3 {
                assert_eq!(world.call(server, &old).await?.status, 200);
            }
            let (keys, kid) = (keys.clone(), old_kid.clone());
            spawn_blocking(move || good(&keys, &["retire", "--now", "--", &kid])).await??;
            for server in 0..3 {
                let refused = async || Ok(world.call(server, &old).await?.status == 401);
                until(&format!("server {server} refuses the tokens of a key that is gone"), refused).await?;
            }
            Ok(())
        })
        .await?;
    for server in &world.servers[..2] {
        assert_eq!(published(server).await?, std::slice::from_ref(&new_kid));
        assert!(!server.stderr()?.contains("stay in use"), "a key was read before it was whole");
    }
    Ok(())
}

#[tokio::test]
async fn keys_that_cannot_be_read_change_nothing() -> Result<()> {
    let server = Server::start("step12")?;
    let keys = server.keys();
    let token = gen_token(&keys, server.url(), &["--username", "alice"])?;
    let before = published(&server).await?;
    // Another folder, with the same pair, in which there is a new key.
    let other = tempfile::tempdir()?;
    fs::copy(keys.join(PAIR), other.path().join(PAIR))?;
    let new = rotate(other.path(), "0s")?;
    let whole = further(other.path())?.pop().context("no new key")?;
    let pem = fs::read_to_string(&whole)?;
    let file = keys.join(whole.file_name().context("no name")?);
    let warnings = || Ok::<_, anyhow::Error>(server.stderr()?.matches("stay in use").count());

    let put = |text: &str, mode: u32| {
        fs::write(&file, text)?;
        set_mode(&file, mode)
    };
    let pair = fs::read_to_string(keys.join(PAIR))?;
    let broken: [(&str, &dyn Fn() -> Result<()>); 5] = [
        ("is not an RSA private key", &|| put(&pem[..pem.len() / 2], 0o600)),
        ("it can be read by others (mode 0644)", &|| put(&pem, 0o644)),
        ("hold the same key", &|| put(&pair, 0o600)),
        ("others may write there (mode 0777)", &|| set_mode(&keys, 0o777)),
        ("cannot look into", &|| Ok(fs::rename(&keys, keys.with_extension("away"))?)),
    ];
    for (number, (why, make)) in broken.iter().enumerate() {
        make()?;
        sleep(Duration::from_secs(5)).await; // it looks twice
        assert_eq!(warnings()?, 1, "one warning is enough: {}", server.stderr()?);
        assert!(number > 0 || server.stderr()?.contains(why), "{}", server.stderr()?);
        assert_eq!(published(&server).await?, before, "{why}");
        assert_eq!(Reply::of(server.get("/ready")).await?.status, 200, "{why}");
        let call = server.modern("tools/list", json!({})).bearer_auth(&token);
        assert_eq!(Reply::of(call).await?.status, 200, "{why}");
        if number < 4 {
            let path = keys.to_str().context("a path that is not UTF-8")?;
            let error = Server::start_with("step12", &["--keys", path]).err().context("it started")?.to_string();
            assert!(error.contains(why), "{error}");
        }
    }
    fs::rename(keys.with_extension("away"), &keys)?;
    set_mode(&keys, 0o700)?;
    put(&pem, 0o600)?;
    until("the new key is there", async || Ok(published(&server).await?.first() == Some(&new))).await?;
    assert_eq!(warnings()?, 1);
    assert!(server.stderr()?.contains("the keys can be read again"));
    Ok(())
}

#[tokio::test]
async fn the_authorization_server_follows_its_folder_too() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let keys = folder.path().join("keys");
    let server = Server::start_with("auth-server", &["--keys", keys.to_str().context("a path that is not UTF-8")?])?;
    let mut wanted = published(&server).await?;
    wanted.insert(0, rotate(&keys, "1h")?);
    until("the new key is published", async || Ok(published(&server).await? == wanted)).await
}

#[tokio::test]
async fn a_key_waits_signs_and_is_retired_once_its_tokens_have_expired() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let keys = folder.path().join("keys");
    let state = |kid: &str, state: &str| (kid.to_owned(), state.to_owned());
    let (_, said) = run(&keys, &["list"])?;
    assert!(said.starts_with("KID ") && said.contains(" signs "), "{said}");
    let old = states(&keys)?[0].0.clone();
    assert_eq!(states(&keys)?, [state(&old, "signs")]);
    let (went_well, said) = run(&keys, &["retire", "--now", "--", &old])?;
    assert!(!went_well && said.contains("without a key nobody could sign"), "{said}");

    let said = good(&keys, &["rotate"])?;
    let new = said.split(' ').next().unwrap_or_default().to_owned();
    let from = chrono::DateTime::parse_from_rfc3339(said.trim_end().rsplit(' ').next().unwrap_or_default())?;
    let waits = from.signed_duration_since(chrono::Utc::now()).num_seconds();
    assert!((900..=960).contains(&waits), "caches and resource servers keep the key set for 15 minutes: {waits}");
    assert_eq!(states(&keys)?, [state(&old, "signs"), state(&new, "waiting")]);
    assert_eq!(fs::metadata(&further(&keys)?[0])?.permissions().mode() & 0o777, 0o600);

    // All who know only the pair go on with it, whichever key signs.
    let works = async |kid_of_pair: &str| {
        let path = keys.to_str().context("a path that is not UTF-8")?;
        for step in ["step9", "step12"] {
            let server = Server::start_with(step, &["--keys", path])?;
            let token = gen_token(&keys, server.url(), &["--username", "alice"])?;
            assert_eq!(kid(&token)?, kid_of_pair);
            let call = server.modern("tools/list", json!({})).bearer_auth(&token);
            assert_eq!(Reply::of(call).await?.status, 200, "{step}");
        }
        anyhow::Ok(())
    };
    began(&keys, 0)?;
    assert_eq!(states(&keys)?, [state(&old, "published"), state(&new, "signs")]);
    works(&old).await?;
    began(&keys, 3600)?; // a token of an hour is good for thirty seconds more, as clocks differ
    assert_eq!(good(&keys, &["retire"])?, "No key is due.\n");
    began(&keys, 3661)?;
    assert_eq!(states(&keys)?, [state(&old, "due"), state(&new, "signs")]);
    let public = keys.join("mcp_public_key.pem");
    let before = std::fs::read(&public)?;
    assert_eq!(good(&keys, &["retire"])?, format!("{old} is gone.\n"));
    assert_ne!(std::fs::read(&public)?, before, "the public key of a pair that is gone");
    assert_eq!(states(&keys)?, [state(&new, "signs")]);
    assert!(further(&keys)?.is_empty());
    works(&new).await?;
    let relying = Server::start_with("step9", &["--public-key", public.to_str().context("a path that is not UTF-8")?])?;
    assert_eq!(published(&relying).await?, [new]);

    rotate(&keys, "0s")?;
    let output = command("gen-token")?.arg("--generate-keys").arg("--keys").arg(&keys).output()?;
    assert!(output.status.success(), "{}", text(&output));
    assert!(further(&keys)?.is_empty(), "all old keys are worthless");
    let (went_well, said) = run(&keys, &["rotate", "--learn", "8d"])?;
    assert!(!went_well && said.contains("at most 7days"), "{said}");
    Ok(())
}

#[tokio::test]
async fn keys_that_would_begin_at_one_second_begin_one_after_the_other() -> Result<()> {
    let keys = tempfile::tempdir()?;
    good(keys.path(), &["list"])?;
    let one_more = || {
        let keys = keys.path().to_owned();
        spawn_blocking(move || rotate(&keys, "1h"))
    };
    let at_once: Vec<_> = (0..12).map(|_| one_more()).collect();
    let mut made = Vec::new();
    for key in at_once {
        made.push(key.await??);
    }
    let states = states(keys.path())?;
    assert_eq!(states.len(), 13);
    assert!(made.iter().all(|kid| states.contains(&(kid.clone(), "waiting".to_owned()))), "{states:?} {made:?}");

    // There may be 16. Programs that add one at once may add one too many, which must not be the end.
    for _ in states.len()..16 {
        good(keys.path(), &["rotate"])?;
    }
    let (went_well, said) = run(keys.path(), &["rotate"])?;
    assert!(!went_well && said.contains("there are 16 keys already: remove some with retire"), "{said}");
    let other = tempfile::tempdir()?;
    rotate(other.path(), "2h")?;
    let further = further(other.path())?.pop().context("no key")?;
    fs::copy(&further, keys.path().join(further.file_name().context("no name")?))?;
    good(keys.path(), &["retire", "--now", &made[0]])?;
    Ok(())
}
