set -eu
obtained=certificates/mx.example.test
if [ -e "$obtained.crt" ]; then
  lego --accept-tos '--path=.' '--email=postmaster@example.test' '--server=https://authority:14000/dir' --http '--http.port=:80' '--domains=mx.example.test' renew --no-random-sleep --days=9999
else
  lego --accept-tos '--path=.' '--email=postmaster@example.test' '--server=https://authority:14000/dir' --http '--http.port=:80' '--domains=mx.example.test' run
fi
cp "$obtained.key" /var/lib/acme/mx.example.test/key.pem
cp "$obtained.crt" /var/lib/acme/mx.example.test/fullchain.pem
systemctl --no-block try-restart vsmtp.service
