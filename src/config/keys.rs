//! Every key of the configuration, once. Whoever goes through them (a [`Visitor`]) decides what that means: to take
//! values from a script, or to write them down.

use super::kind::{self, Choice, Kind, List, Optional};
use super::{Backend, Config, Dkim, Domain, Interfaces, Logs, System, control_default};
use crate::delivery::ReportLimits;
use crate::script::Limits;
use crate::tls::{KeyPair, Version};
use crate::{dns, queue, server, smtp, tls};
use hickory_resolver::config::LookupIpStrategy;
use std::path::PathBuf;
use std::sync::Arc;

/// What goes through the keys.
pub(super) trait Visitor: Sized {
    /// One key; `value` holds its default before.
    fn key<T, K: Kind<T>>(&mut self, key: &'static str, kind: K, value: &mut T);

    /// One key whose default hangs on other keys.
    fn derived<T, K: Kind<T>>(&mut self, key: &'static str, kind: K, value: &mut T, default: T);

    /// The keys below `key`.
    fn section(&mut self, key: &'static str, keys: impl FnOnce(&mut Self));

    /// `key` of this section, or one below it, does not fit its neighbours.
    fn refuse(&mut self, key: &'static str, what: impl Into<String>, remedy: impl Into<String>);
}

/// `fn on_config(config)`
pub(super) fn root<V: Visitor>(v: &mut V, config: &mut Config) {
    v.key(
        "version_requirement",
        Optional(kind::Requirement),
        &mut config.version_requirement,
    );
    v.section("server", |v| server(v, config));
    v.section("app", |v| app(v, config));
}

fn server<V: Visitor>(v: &mut V, config: &mut Config) {
    let options = &mut config.server;
    let limits = Arc::make_mut(&mut options.limits);
    v.key("name", kind::DomainName, &mut options.name);
    v.key(
        "client_count_max",
        kind::Unlimited,
        &mut options.client_count_max,
    );
    v.key(
        "client_count_max_per_address",
        kind::Unlimited,
        &mut options.client_count_max_per_address,
    );
    v.key("message_size_limit", kind::Size, &mut limits.message_size);
    v.section("interfaces", |v| interfaces(v, &mut config.interfaces));
    v.section("system", |v| system(v, &mut config.system));
    v.section("logs", |v| logs(v, &mut config.logs));
    v.section("queues", |v| {
        queues(v, &mut config.queue, &mut config.delivery.reports);
    });
    let control = control_default(config.runtime_directory.as_ref(), &config.queue.dirpath);
    v.derived("control", kind::File, &mut config.control, control);
    v.section("tls", |v| server_tls(v, &mut config.tls));
    v.section("smtp", |v| {
        smtp(v, &mut config.server, &mut config.rules.saslauthd);
    });
    v.section("dns", |v| resolver(v, &mut config.dns));
    v.section("delivery", |v| {
        v.section("tls", |v| {
            v.key("ca", Optional(kind::File), &mut config.relaying.ca);
        });
    });
}

fn interfaces<V: Visitor>(v: &mut V, interfaces: &mut Interfaces) {
    let Interfaces {
        addr,
        addr_submission,
        addr_submissions,
    } = interfaces;
    v.key("addr", List::of(kind::Socket), addr);
    v.key("addr_submission", List::of(kind::Socket), addr_submission);
    v.key("addr_submissions", List::of(kind::Socket), addr_submissions);
    let others = [
        ("addr_submission", &*addr_submission, vec![&*addr]),
        (
            "addr_submissions",
            &*addr_submissions,
            vec![&*addr, &*addr_submission],
        ),
    ];
    for (key, addresses, before) in others {
        for address in addresses.iter().filter(|address| address.port() != 0) {
            if before.iter().any(|taken| taken.contains(address)) {
                v.refuse(
                    key,
                    format!("{address} serves another interface already"),
                    "give each interface addresses of its own",
                );
            }
        }
    }
}

fn system<V: Visitor>(v: &mut V, system: &mut System) {
    v.key("user", kind::Account, &mut system.user);
    v.key("group", kind::Account, &mut system.group);
    v.key(
        "group_local",
        Optional(kind::Account),
        &mut system.group_local,
    );
    v.key("thread_pool", kind::Count, &mut system.thread_pool);
}

fn logs<V: Visitor>(v: &mut V, logs: &mut Logs) {
    const BACKENDS: Choice<Backend> = Choice(&[
        ("journald", Backend::Journald),
        ("stderr", Backend::Stderr),
        ("file", Backend::File),
    ]);
    v.key("level", kind::Level, &mut logs.level);
    v.key("filename", Optional(kind::File), &mut logs.filename);
    let mut level = None;
    v.section("system", |v| {
        v.key("backend", BACKENDS, &mut logs.backend);
        v.key("level", Optional(kind::Level), &mut level);
    });
    if let Some(level) = level {
        logs.level = level;
    }
    if logs.backend == Backend::File && logs.filename.is_none() {
        v.refuse(
            "system.backend",
            "\"file\" needs a file",
            "name one in server.logs.filename",
        );
    }
}

fn queues<V: Visitor>(v: &mut V, queue: &mut queue::Options, limits: &mut ReportLimits) {
    v.key("dirpath", kind::File, &mut queue.dirpath);
    v.section("delivery", |v| {
        schedule(v, &mut queue.schedule);
        reports(v, limits);
    });
}

fn reports<V: Visitor>(v: &mut V, limits: &mut ReportLimits) {
    v.key("report_count_max", kind::Unlimited, &mut limits.total);
    v.key(
        "report_count_max_per_domain",
        kind::Unlimited,
        &mut limits.per_domain,
    );
}

fn schedule<V: Visitor>(v: &mut V, schedule: &mut queue::Schedule) {
    v.key(
        "deferred_retry_max",
        kind::Unlimited,
        &mut schedule.attempts_max,
    );
    v.key("retry_min", kind::Duration, &mut schedule.retry_min);
    let mut older_spelling = None;
    v.key(
        "deferred_retry_period",
        Optional(kind::Duration),
        &mut older_spelling,
    );
    if let Some(period) = older_spelling {
        schedule.retry_min = period;
    }
    v.key("retry_max", kind::Duration, &mut schedule.retry_max);
    v.key("lifetime", kind::Duration, &mut schedule.lifetime);
    v.key("warn_after", kind::Duration, &mut schedule.warn_after);
    if schedule.retry_min > schedule.retry_max {
        v.refuse(
            "retry_max",
            "is shorter than retry_min",
            "let the longest pause be as long as the first",
        );
    }
    if schedule.retry_max > schedule.lifetime {
        v.refuse(
            "lifetime",
            "is shorter than retry_max",
            "let a message live longer than one pause",
        );
    }
}

fn server_tls<V: Visitor>(v: &mut V, tls: &mut tls::Options) {
    v.key(
        "protocol_version",
        List::some(kind::TlsVersion),
        &mut tls.versions,
    );
    v.key(
        "cipher_suite",
        List::of(kind::CipherSuite),
        &mut tls.cipher_suites,
    );
    v.key(
        "preempt_cipherlist",
        kind::Flag,
        &mut tls.preempt_cipherlist,
    );
    v.key(
        "handshake_timeout",
        kind::Duration,
        &mut tls.handshake_timeout,
    );
    v.section("root", |v| key_pair(v, &mut tls.root));
    if !kind::has_suite(&tls.cipher_suites, &tls.versions) {
        v.refuse(
            "cipher_suite",
            "none of these suites belongs to a version of protocol_version",
            "add a suite of that version, or leave the list out",
        );
    }
}

fn key_pair<V: Visitor>(v: &mut V, pair: &mut Option<KeyPair>) {
    let (mut certificate, mut private_key) = match pair.take() {
        Some(pair) => (Some(pair.certificate), Some(pair.private_key)),
        None => (None, None),
    };
    v.key("certificate", Optional(kind::File), &mut certificate);
    v.key("private_key", Optional(kind::File), &mut private_key);
    match (certificate, private_key) {
        (Some(certificate), Some(private_key)) => {
            *pair = Some(KeyPair {
                certificate,
                private_key,
            });
        }
        (Some(_), None) => v.refuse(
            "certificate",
            "has no private_key beside it",
            "give both, or neither",
        ),
        (None, Some(_)) => v.refuse(
            "private_key",
            "has no certificate beside it",
            "give both, or neither",
        ),
        (None, None) => {}
    }
}

fn smtp<V: Visitor>(v: &mut V, server: &mut server::Options, saslauthd: &mut PathBuf) {
    let limits = Arc::make_mut(&mut server.limits);
    v.key("rcpt_count_max", kind::Count, &mut limits.recipients);
    v.section("error", |v| errors(v, limits, &mut server.error_delay));
    v.section("timeout_client", |v| timeouts(v, &mut server.timeouts));
    v.section("auth", |v| {
        let auth = &mut limits.authentication;
        v.key(
            "enable_dangerous_mechanism_in_clair",
            kind::Flag,
            &mut auth.in_clear,
        );
        v.key(
            "mechanisms",
            List::of(kind::Mechanism),
            &mut auth.mechanisms,
        );
        v.key("attempt_count_max", kind::Count, &mut auth.attempts_max);
        v.key("saslauthd", kind::File, saslauthd);
    });
}

fn errors<V: Visitor>(v: &mut V, limits: &mut smtp::Limits, delay: &mut std::time::Duration) {
    v.key("soft_count", kind::Unlimited, &mut limits.soft_errors);
    v.key("hard_count", kind::Unlimited, &mut limits.hard_errors);
    v.key("delay", kind::Pause, delay);
}

fn timeouts<V: Visitor>(v: &mut V, timeouts: &mut server::Timeouts) {
    v.key("connect", kind::Duration, &mut timeouts.connect);
    v.key("helo", kind::Duration, &mut timeouts.helo);
    v.key("mail_from", kind::Duration, &mut timeouts.mail_from);
    v.key("rcpt_to", kind::Duration, &mut timeouts.rcpt_to);
    v.key("data", kind::Duration, &mut timeouts.data);
}

const SOURCES: Choice<dns::Source> = Choice(&[
    ("system", dns::Source::System),
    ("google", dns::Source::Google),
    ("cloudflare", dns::Source::Cloudflare),
    ("custom", dns::Source::Custom),
]);
const STRATEGIES: Choice<LookupIpStrategy> = Choice(&[
    ("Ipv4Only", LookupIpStrategy::Ipv4Only),
    ("Ipv6Only", LookupIpStrategy::Ipv6Only),
    ("Ipv4AndIpv6", LookupIpStrategy::Ipv4AndIpv6),
    ("Ipv6AndIpv4", LookupIpStrategy::Ipv6AndIpv4),
    ("Ipv6thenIpv4", LookupIpStrategy::Ipv6thenIpv4),
    ("Ipv4thenIpv6", LookupIpStrategy::Ipv4thenIpv6),
]);

fn resolver<V: Visitor>(v: &mut V, options: &mut dns::Options) {
    let inherited = options.name_servers.clone();
    v.key("type", SOURCES, &mut options.source);
    v.section("config", |v| {
        v.key(
            "name_servers",
            List::of(kind::NameServer),
            &mut options.name_servers,
        );
    });
    v.section("options", |v| {
        v.key("timeout", Optional(kind::Duration), &mut options.timeout);
        v.key("attempts", Optional(kind::Count), &mut options.attempts);
        v.key("rotate", Optional(kind::Flag), &mut options.rotate);
        v.key(
            "ip_strategy",
            Optional(STRATEGIES),
            &mut options.ip_strategy,
        );
        v.key("cache_size", Optional(kind::Count), &mut options.cache_size);
        v.key(
            "num_concurrent_reqs",
            Optional(kind::Count),
            &mut options.concurrent_requests,
        );
        v.key("validate", kind::Flag, &mut options.validate);
        v.key(
            "trust_anchor",
            Optional(kind::File),
            &mut options.trust_anchor,
        );
    });
    let custom = options.source == dns::Source::Custom;
    if custom && options.name_servers.is_empty() {
        v.refuse(
            "type",
            "\"custom\" needs name servers",
            "give their addresses beside it: config: #{ name_servers: [\"192.0.2.1\"] }",
        );
    }
    if options.trust_anchor.is_some() && !options.validate {
        v.refuse(
            "options.trust_anchor",
            "nothing is validated",
            "set options.validate to true beside it, or remove it",
        );
    }
    if !custom && options.name_servers != inherited {
        v.refuse(
            "config.name_servers",
            "they are asked only where type is \"custom\"",
            "set type beside config, or remove them",
        );
    }
}

fn app<V: Visitor>(v: &mut V, config: &mut Config) {
    let spool = &config.queue.dirpath;
    v.derived(
        "dirpath",
        kind::File,
        &mut config.delivery.dirpath,
        spool.join("app"),
    );
    v.derived(
        "mail_dirpath",
        kind::File,
        &mut config.delivery.mail_dirpath,
        spool.join("mail"),
    );
    v.section("logs", |v| {
        v.key("filename", Optional(kind::File), &mut config.rules.log);
    });
    v.section("vsl", |v| {
        v.key("filter_path", kind::File, &mut config.rules.filter);
        v.key("domain_dir", kind::File, &mut config.domain_dir);
        v.section("limits", |v| rule_limits(v, &mut config.rules.limits));
    });
}

fn rule_limits<V: Visitor>(v: &mut V, limits: &mut Limits) {
    use kind::{Count, Duration, Size, UpTo};
    const MAX: Limits = Limits::MAX;
    let operations = UpTo(Count, MAX.operations);
    v.key("operations", operations, &mut limits.operations);
    let deadline = UpTo(Duration, MAX.deadline);
    v.key("deadline", deadline, &mut limits.deadline);
    let call_levels = UpTo(Count, MAX.call_levels);
    v.key("call_depth", call_levels, &mut limits.call_levels);
    let string_size = UpTo(Size, MAX.string_size);
    v.key("string_size", string_size, &mut limits.string_size);
    let array_size = UpTo(Count, MAX.array_size);
    v.key("array_size", array_size, &mut limits.array_size);
    let map_size = UpTo(Count, MAX.map_size);
    v.key("map_size", map_size, &mut limits.map_size);
}

/// `fn on_domain_config(config)`
pub(super) fn domain<V: Visitor>(v: &mut V, domain: &mut Domain) {
    v.section("tls", |v| {
        domain_tls(v, &mut domain.key_pair, &mut domain.versions);
    });
    v.section("dkim", |v| dkim(v, &mut domain.dkim));
    v.section("dns", |v| resolver(v, &mut domain.dns));
    v.key(
        "mailboxes",
        Optional(kind::Mailboxes),
        &mut domain.mailboxes,
    );
    v.key("aliases", kind::Aliases, &mut domain.aliases);
    v.key("transport", kind::Transport, &mut domain.transport);
}

fn domain_tls<V: Visitor>(
    v: &mut V,
    pair: &mut Option<KeyPair>,
    versions: &mut Option<Vec<Version>>,
) {
    key_pair(v, pair);
    v.key(
        "protocol_version",
        Optional(List::some(kind::TlsVersion)),
        versions,
    );
}

fn dkim<V: Visitor>(v: &mut V, dkim: &mut Option<Dkim>) {
    let (mut private_keys, mut selector): (Vec<PathBuf>, _) = match dkim.take() {
        Some(dkim) => (dkim.private_keys, Some(dkim.selector)),
        None => (Vec::new(), None),
    };
    v.key("private_key", List::of(kind::File), &mut private_keys);
    v.key("selector", Optional(kind::Selector), &mut selector);
    match selector {
        Some(selector) if !private_keys.is_empty() => {
            *dkim = Some(Dkim {
                private_keys,
                selector,
            });
        }
        Some(_) => v.refuse(
            "selector",
            "has no private_key beside it",
            "give both, or neither",
        ),
        None if !private_keys.is_empty() => v.refuse(
            "private_key",
            "has no selector beside it",
            "give both, or neither",
        ),
        None => {}
    }
}
