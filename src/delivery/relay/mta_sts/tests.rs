use super::super::fake::Act::{Hear, Say, Tls};
use super::super::fake::{Act, Fake, Identity};
use super::*;
use crate::dns::Zone;

fn zone(id: &str) -> Zone {
    Zone::default()
        .with_txt("_mta-sts.example.org", &format!("v=STSv1; id={id};"))
        .with_address("mta-sts.example.org", [127, 0, 0, 1])
}

fn serving(identity: &Identity, head: &'static str, policy: &'static str) -> Vec<Act> {
    vec![
        Tls(identity.clone()),
        Hear("GET /.well-known/mta-sts.txt HTTP/1.1"),
        Say(head),
        Say(policy),
    ]
}

const TEXT: &str =
    "HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n";
const ENFORCE: &str = "version: STSv1\r\nmode: enforce\r\nmx: mx.example.org\r\nmax_age: 600";

#[tokio::test]
async fn a_policy_is_fetched_once_and_outlives_the_dns() {
    let identity = Identity::new("mta-sts.example.org");
    let trust = Trust::new(identity.roots()).unwrap();
    let (fake, at) = Fake::start(1, 0, vec![serving(&identity, TEXT, ENFORCE)]).await;
    let policies = Policies::new(trust, at.port());
    let now = Instant::now();
    for _ in 0..2 {
        let policy = policies.of(&zone("1"), "Example.org", now).await.unwrap();
        assert!(policy.mode == Mode::Enforce && policy.allows("mx.example.org"));
    }
    assert_eq!(fake.heard().len(), 1);
    let gone = Zone::default();
    assert!(policies.of(&gone, "example.org", now).await.is_some());
    let late = now + Duration::from_secs(601);
    assert!(policies.of(&gone, "example.org", late).await.is_none());
    // A new id is a new policy.
    assert!(policies.of(&zone("2"), "example.org", now).await.is_some());
    assert_eq!(fake.heard().len(), 2);
}

#[tokio::test]
async fn a_policy_that_cannot_be_had_is_none() {
    let identity = Identity::new("mta-sts.example.org");
    let stranger = Identity::new("mta-sts.example.org");
    let misnamed = Identity::new("example.org");
    let html = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nConnection: close\r\n";
    let moved = "HTTP/1.1 301 Moved\r\nLocation: https://example.net/\r\nContent-Length: 0\r\n";
    for (shown, trusted, head, text) in [
        (&stranger, &identity, TEXT, ENFORCE),
        (&misnamed, &misnamed, TEXT, ENFORCE),
        (&identity, &identity, html, ENFORCE),
        (&identity, &identity, moved, ENFORCE),
        (&identity, &identity, TEXT, "nonsense"),
        (&identity, &identity, "SSH-2.0", ENFORCE),
        (
            &identity,
            &identity,
            TEXT,
            "version: STSv1\r\nmode: none\r\nmax_age: 600",
        ),
    ] {
        let (fake, at) = Fake::start(1, 0, vec![serving(shown, head, text)]).await;
        let policies = Policies::new(Trust::new(trusted.roots()).unwrap(), at.port());
        for _ in 0..2 {
            assert!(
                policies
                    .of(&zone("1"), "example.org", Instant::now())
                    .await
                    .is_none(),
                "{head} {text}"
            );
        }
        assert_eq!(fake.heard().len(), 1, "a server that failed is left alone");
    }
}
