//! How secret and with whom: what a domain, its DNS and the operator ask of a connection, and why.

use super::dane;
use super::mta_sts::{self, Policy};
use super::trust::Verification;
use crate::delivery::next_hops::NextHop;
use crate::dns::{Error, Resolver};
use crate::mail::{Status, TlsMode};
use crate::smtp::client::{Outcome, StartTls};

/// What was decided for one host, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Decision {
    pub(super) starttls: StartTls,
    pub(super) verification: Verification,
    pub(super) implicit: bool,
    /// For the log.
    pub(super) reason: String,
}

impl Decision {
    fn new(starttls: StartTls, verification: Verification, reason: &str) -> Self {
        Self {
            starttls,
            verification,
            implicit: false,
            reason: reason.to_owned(),
        }
    }

    /// What the operator asked for, of a host that the operator named.
    pub(super) fn of_mode(mode: TlsMode) -> Self {
        match mode {
            TlsMode::None => Self::new(StartTls::Never, Verification::None, "TLS is off"),
            TlsMode::Opportunistic => {
                Self::new(StartTls::Offered, Verification::None, "opportunistic")
            }
            TlsMode::Required => Self::new(
                StartTls::Required,
                Verification::Named,
                "required by the configuration",
            ),
            TlsMode::Tunnel => Self {
                implicit: true,
                ..Self::new(
                    StartTls::Never,
                    Verification::Named,
                    "TLS from the first octet, by the configuration",
                )
            },
        }
    }

    /// Of a unix socket, whom the system keeps others from.
    pub(super) fn of_socket() -> Self {
        Self::new(StartTls::Never, Verification::None, "a unix socket")
    }

    /// Whether the message may go out in clear when the handshake fails.
    pub(super) fn may_fall_back(&self) -> bool {
        self.starttls == StartTls::Offered
    }
}

/// What to ask of `hop`: a mail exchanger that `policy` speaks of where the domain has one, or a host that an operator
/// named. DANE is for both (RFC 7672 §2.2.3), unless the operator asked for something else.
///
/// DANE goes before MTA-STS where a host has both (RFC 8461 §2).
///
/// # Errors
/// No mail may go to this host now.
pub(super) async fn decide(
    resolver: &dyn Resolver,
    hop: &NextHop,
    port: u16,
    mode: TlsMode,
    policy: Option<&Policy>,
) -> Result<Decision, Outcome> {
    if mode != TlsMode::Opportunistic {
        return Ok(Decision::of_mode(mode));
    }
    if hop.secure
        && let Some(decision) = by_dane(resolver, hop, port).await?
    {
        return Ok(decision);
    }
    match policy {
        Some(policy) if policy.mode == mta_sts::Mode::Enforce => by_policy(policy, hop),
        Some(_) => Ok(Decision::new(
            StartTls::Offered,
            Verification::None,
            "opportunistic; the domain only tests its MTA-STS policy",
        )),
        None => Ok(Decision::of_mode(mode)),
    }
}

/// RFC 7672 §2.1 and §2.2; `None`: the host has no TLSA records that count.
async fn by_dane(
    resolver: &dyn Resolver,
    hop: &NextHop,
    port: u16,
) -> Result<Option<Decision>, Outcome> {
    let name = format!("_{port}._tcp.{}", hop.host);
    match resolver.tlsa(&name).await {
        Ok(answer) if answer.secure => {
            let usable = dane::usable(answer.records);
            Ok(Some(if usable.is_empty() {
                let reason = "DANE: TLS, but no TLSA record that SMTP can use";
                Decision::new(StartTls::Required, Verification::None, reason)
            } else {
                let reason = "DANE: TLSA records";
                let domain = hop.domain.clone();
                let verification = Verification::Dane(usable, domain);
                Decision::new(StartTls::Required, verification, reason)
            }))
        }
        Ok(_) | Err(Error::NoSuchName | Error::NoRecords) => Ok(None),
        // To go on without would let whoever breaks the DNS switch DANE off.
        Err(error @ Error::Temporary(_)) => {
            let text = format!("DANE: {name}: {error}");
            Err(Outcome::Deferred(Status::new(4, 7, 5), text))
        }
    }
}

/// RFC 8461 §4.1
fn by_policy(policy: &Policy, hop: &NextHop) -> Result<Decision, Outcome> {
    if policy.allows(&hop.host) {
        return Ok(Decision::new(
            StartTls::Required,
            Verification::Authorities,
            "MTA-STS: enforced",
        ));
    }
    let text = format!(
        "MTA-STS: the policy of the domain does not list {}",
        hop.host
    );
    Err(Outcome::Deferred(Status::new(4, 7, 5), text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns::{Tlsa, Zone};

    fn hop(secure: bool) -> NextHop {
        NextHop {
            host: "mx.example.org".to_owned(),
            addresses: vec![],
            domain: None,
            secure,
        }
    }

    fn record(usage: u8) -> Tlsa {
        Tlsa {
            usage,
            selector: 1,
            matching: 1,
            data: vec![0; 32],
        }
    }

    fn policy(mode: &str, mx: &str) -> Policy {
        Policy::parse(&format!(
            "version: STSv1\nmode: {mode}\nmx: {mx}\nmax_age: 86400\n"
        ))
        .unwrap()
    }

    #[tokio::test]
    async fn each_source_is_asked_in_its_turn() {
        const NAME: &str = "_25._tcp.mx.example.org";
        let signed = |usage| Zone::default().with_tlsa(NAME, record(usage)).secure("org");
        let unsigned = Zone::default().with_tlsa(NAME, record(3));
        let empty = Zone::default();
        let enforce = policy("enforce", "mx.example.org");
        let elsewhere = policy("enforce", "other.example.org");
        let testing = policy("testing", "other.example.org");
        let broken = Zone::default().broken(NAME);
        let cases: [(&Zone, bool, Option<&Policy>, &str); 10] = [
            (&empty, false, None, "Offered None"),
            (&signed(3), true, None, "Required Dane"),
            (&signed(3), true, Some(&elsewhere), "Required Dane"),
            (&signed(1), true, None, "Required None"),
            (&signed(3), false, None, "Offered None"),
            (&unsigned, true, None, "Offered None"),
            (&empty, true, Some(&enforce), "Required Authorities"),
            (&empty, false, Some(&elsewhere), "4.7.5"),
            (&empty, false, Some(&testing), "Offered None"),
            (&broken, true, Some(&enforce), "4.7.5"),
        ];
        for (number, (zone, secure, policy, expected)) in cases.into_iter().enumerate() {
            let decided = decide(zone, &hop(secure), 25, TlsMode::Opportunistic, policy).await;
            let shown = match decided {
                Ok(decision) => {
                    let verification = format!("{:?}", decision.verification);
                    let kind = verification.split('(').next().unwrap().to_owned();
                    format!("{:?} {kind}", decision.starttls)
                }
                Err(Outcome::Deferred(status, _)) => status.to_string(),
                Err(other) => panic!("{other:?}"),
            };
            assert_eq!(shown, expected, "case {number}");
        }
    }

    #[test]
    fn only_opportunism_falls_back() {
        for (mode, expected) in [
            (TlsMode::None, false),
            (TlsMode::Opportunistic, true),
            (TlsMode::Required, false),
            (TlsMode::Tunnel, false),
        ] {
            assert_eq!(
                Decision::of_mode(mode).may_fall_back(),
                expected,
                "{mode:?}"
            );
        }
    }
}
