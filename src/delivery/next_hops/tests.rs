use super::*;
use crate::dns::Zone;

fn zone() -> Zone {
    Zone::default()
        .with_mx("example.org", 20, "b.example.org")
        .with_mx("example.org", 10, "a.example.org")
        .with_mx("example.org", 30, "c.example.org")
        .with_address("a.example.org", [192, 0, 2, 1])
        .with_address("b.example.org", [192, 0, 2, 2])
        .with_address("b.example.org", [192, 0, 2, 22])
        .with_address("b.example.org", [0x2001, 0xdb8, 0, 0, 0, 0, 0, 2])
        .with_address("c.example.org", [192, 0, 2, 3])
        .with_mx("null.example", 0, ".")
        .with_mx("odd.example", 0, ".")
        .with_mx("odd.example", 5, "a.example.org")
        .with_address("plain.example", [192, 0, 2, 4])
        .with_cname("alias.example", "example.org")
        .with_txt("empty.example", "nothing else")
        .broken("broken.example")
        .with_mx("dangling.example", 5, "gone.example")
        .with_mx("half.example", 5, "gone.example")
        .with_mx("half.example", 6, "broken.example")
        .with_mx("local.example", 5, "here.example")
        .with_address("here.example", [127, 0, 0, 1])
        .with_mx("zero.example", 5, "zero.example")
        .with_address("zero.example", [0, 0, 0, 0])
}

fn ourselves(names: &[&str], addresses: &[&str]) -> Ourselves {
    let addresses = addresses.iter().map(|a| a.parse().unwrap());
    Ourselves::new(names.iter().map(ToString::to_string), addresses)
}

async fn plan(domain: &str, ourselves: &Ourselves) -> Result<Vec<String>, String> {
    match next_hops(&zone(), domain, ourselves, &mut |_| 0).await {
        Ok(hops) => Ok(hops
            .iter()
            .map(|hop| {
                let addresses: Vec<String> = hop.addresses.iter().map(IpAddr::to_string).collect();
                format!("{} {}", hop.host, addresses.join(","))
            })
            .collect()),
        Err(Outcome::Failed(status, _) | Outcome::Deferred(status, _)) => Err(status.to_string()),
        Err(Outcome::Delivered(_)) => panic!("delivered to nobody"),
    }
}

#[tokio::test]
async fn the_best_comes_first() {
    let nobody = Ourselves::default();
    let all = [
        "a.example.org 192.0.2.1",
        "b.example.org 2001:db8::2,192.0.2.2,192.0.2.22",
        "c.example.org 192.0.2.3",
    ];
    assert_eq!(plan("example.org", &nobody).await.unwrap(), all);
    assert_eq!(plan("EXAMPLE.org", &nobody).await.unwrap(), all);
    assert_eq!(plan("alias.example", &nobody).await.unwrap(), all);
    assert_eq!(
        plan("plain.example", &nobody).await.unwrap(),
        ["plain.example 192.0.2.4"]
    );
    assert_eq!(
        plan("odd.example", &nobody).await.unwrap(),
        ["a.example.org 192.0.2.1"]
    );
    assert_eq!(
        plan("[192.0.2.9]", &nobody).await.unwrap(),
        ["[192.0.2.9] 192.0.2.9"]
    );
    assert_eq!(
        plan("[ipv6:2001:db8::9]", &nobody).await.unwrap(),
        ["[ipv6:2001:db8::9] 2001:db8::9"]
    );
}

#[tokio::test]
async fn what_leads_nowhere_says_why() {
    for (domain, status) in [
        ("null.example", "5.1.10"),
        ("nothing.example", "5.1.2"),
        ("empty.example", "5.4.4"),
        ("dangling.example", "5.4.4"),
        ("half.example", "4.4.3"),
        ("broken.example", "4.4.3"),
        ("zero.example", "5.4.4"),
        ("[0.0.0.0]", "5.4.4"),
    ] {
        assert_eq!(
            plan(domain, &Ourselves::default()).await.unwrap_err(),
            status,
            "{domain}"
        );
    }
}

#[tokio::test]
async fn mail_does_not_come_back_to_us() {
    for us in [
        ourselves(&["B.example.org"], &[]),
        ourselves(&[], &["2001:db8::2"]),
    ] {
        assert_eq!(
            plan("example.org", &us).await.unwrap(),
            ["a.example.org 192.0.2.1"]
        );
    }
    for us in [
        ourselves(&["a.example.org"], &[]),
        ourselves(&[], &["::ffff:192.0.2.1"]),
    ] {
        assert_eq!(plan("example.org", &us).await.unwrap_err(), "5.4.6");
    }
    let us = ourselves(&[], &["127.0.0.2", "192.0.2.9"]);
    assert_eq!(plan("local.example", &us).await.unwrap_err(), "5.4.6");
    assert_eq!(plan("[192.0.2.9]", &us).await.unwrap_err(), "5.4.6");
}

#[tokio::test]
async fn an_equal_of_ours_is_dropped_however_it_was_shuffled() {
    let zone = Zone::default()
        .with_mx("example.org", 10, "a.example.org")
        .with_mx("example.org", 10, "b.example.org")
        .with_address("a.example.org", [192, 0, 2, 1])
        .with_address("b.example.org", [192, 0, 2, 2]);
    let us = ourselves(&[], &["192.0.2.2"]);
    for pick in 0..2 {
        let planned = next_hops(&zone, "example.org", &us, &mut |_| pick).await;
        assert!(matches!(planned, Err(Outcome::Failed(..))));
    }
}

#[tokio::test]
async fn equals_are_tried_at_random() {
    let mut zone = Zone::default();
    for number in 0..20 {
        let host = format!("mx{number}.example.org");
        zone = zone
            .with_mx("example.org", 10, &host)
            .with_address(&host, [192, 0, 2, number]);
    }
    let mut firsts = HashSet::new();
    for seed in 0..50 {
        let mut random = |below: usize| seed % below;
        let hops = next_hops(&zone, "example.org", &Ourselves::default(), &mut random)
            .await
            .unwrap();
        assert_eq!(hops.len(), HOSTS_MAX);
        firsts.insert(hops[0].host.clone());
    }
    assert!(firsts.len() > 5, "{firsts:?}");
}

#[tokio::test]
async fn security_needs_the_whole_way() {
    for (secured, expected) in [
        (vec!["example.org"], true),
        (vec!["a.example.org"], false),
        (vec![], false),
    ] {
        let zone = secured.iter().fold(zone(), |zone, name| zone.secure(name));
        let hops = next_hops(&zone, "example.org", &Ourselves::default(), &mut |_| 0)
            .await
            .unwrap();
        assert_eq!(hops[0].secure, expected, "{secured:?}");
    }
}

#[tokio::test]
async fn a_named_host_needs_no_mx() {
    let zone = zone();
    let found = async |host| named(&zone, host, 25, &Ourselves::default()).await;
    for (host, addresses) in [
        ("b.example.org", 3),
        ("127.0.0.1", 1),
        ("::1", 1),
        ("[IPv6:::1]", 1),
    ] {
        assert_eq!(
            found(host).await.unwrap().addresses.len(),
            addresses,
            "{host}"
        );
    }
    let missing = found("nothing.example").await;
    assert!(matches!(missing, Err(Outcome::Deferred(..))));
}

#[tokio::test]
async fn nobody_is_sent_to_where_we_listen() {
    let sockets = ["127.0.0.1:2525", "0.0.0.0:25"].map(|socket| socket.parse().unwrap());
    let us = ourselves(&[], &["127.0.0.1", "192.0.2.2"]).listening(sockets);
    for (host, port, is_us) in [
        ("127.0.0.1", 2525, true),
        ("::ffff:127.0.0.1", 2525, true),
        ("127.0.0.2", 2525, false),
        ("127.0.0.1", 2526, false),
        ("127.0.0.2", 25, true),
        ("b.example.org", 25, true),
        ("b.example.org", 2525, false),
        ("a.example.org", 25, false),
    ] {
        let named = named(&zone(), host, port, &us).await;
        let refused =
            matches!(&named, Err(Outcome::Deferred(status, _)) if *status == Status::new(4, 4, 6));
        assert_eq!(refused, is_us, "{host}:{port} {named:?}");
    }
}
