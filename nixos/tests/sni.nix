# Several domains on one server: which certificate a client sees, without and with a certificate for clients that name
# none.
let
  common = {
    imports = [
      ./support/node.nix
      (import ./support/test-domain.nix "example.com")
      (import ./support/test-domain.nix "example.org")
    ];
    testCertificates = {
      "example.com" = [ "mail.example.com" ];
      "example.org" = [ "*.example.org" ];
    };
  };
in
{
  name = "vsmtp-sni";

  nodes = {
    bare = common;
    rooted = {
      imports = [ common ];
      testCertificates."mx.example.net" = [ ];
      services.vsmtp.tls = {
        certificate = "/var/lib/vsmtp-test-certificates/mx.example.net.certificate";
        privateKey = "/var/lib/vsmtp-test-certificates/mx.example.net.key";
      };
    };
  };

  testScript = builtins.readFile ./sni.py;
}
