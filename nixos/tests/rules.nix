# Rules as text, as a file and as a list of both; the policy "deny unencrypted".
let
  denyUnencrypted = ''
    // The whole policy is one rule.
    #{
      mail: [
        rule "deny unencrypted" || {
          if ctx::is_secured() {
            state::next()
          } else {
            state::deny(code(451, "5.7.3", "Must issue a STARTTLS command first\r\n"))
          }
        }
      ]
    }
  '';
  noJoe = ''
    #{
      mail: [
        rule "not from joe" || {
          if ctx::mail_from() == "joe@client.test" { state::deny() } else { state::next() }
        },
      ],
    }
  '';
  common = {
    imports = [
      ./support/node.nix
      (import ./support/test-domain.nix "example.com")
    ];
  };
in
{
  name = "vsmtp-rules";

  nodes = {
    text = {
      imports = [ common ];
      services.vsmtp.rules.filter = denyUnencrypted;
    };
    file = {
      imports = [ common ];
      services.vsmtp.rules.filter = ./support/greeting.vsl;
      services.vsmtp.domains."example.com".rules.incoming = ''
        #{
          rcpt: [
            rule "closed on request" || {
              if ctx::mail_from().local_part == "closed" { state::deny(code(550, "5.7.1", "Closed")) } else { state::next() }
            },
          ],
        }
      '';
    };
    joined = {
      imports = [ common ];
      services.vsmtp.rules.filter = [
        noJoe
        ./support/greeting.vsl
        denyUnencrypted
      ];
    };
  };

  testScript = builtins.readFile ./rules.py;
}
