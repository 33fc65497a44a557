#!/bin/sh
# A mail to $1 for each warning and error of the heartbeat monitor, and for what systemd
# says of its service when that fails. Any mailer has this sendmail. Of a storm one mail
# tells: the entries of its peers are below "warning".
set -u

# By fields that the journal itself vouches for: no other user can have a mail sent.
journalctl --follow --since=now --output=cat --output-fields=MESSAGE --priority=warning \
    _SYSTEMD_UNIT=hbd.service + _PID=1 UNIT=hbd.service |
    while IFS= read -r line; do
        subject=$(printf '%s' "$line" | LC_ALL=C tr -cd ' -~' | cut -c 1-200)
        printf 'To: %s\nSubject: hbd on %s: %s\nMIME-Version: 1.0\n%s\n\n%s\n' "$1" "$(hostname)" \
            "$subject" 'Content-Type: text/plain; charset=utf-8' "$line" |
            /usr/sbin/sendmail -t || echo "<4>no mail could be sent of: $line"
    done
