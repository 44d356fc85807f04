# A domain with the certificate that `testCertificates` makes for it, and the mailbox jane.
name: {
  testCertificates.${name} = [ ];
  services.vsmtp.domains.${name} = {
    tls = {
      certificate = "/var/lib/vsmtp-test-certificates/${name}.certificate";
      privateKey = "/var/lib/vsmtp-test-certificates/${name}.key";
    };
    mailboxes = [ "jane" ];
  };
}
