#!/bin/bash
# Mails to $1 of the warnings and errors of the heartbeat monitor, and of what systemd says
# of its service when that fails. Any mailer has this sendmail. Of a storm one mail tells: but
# for the first five the entries of its peers are below "warning". Of what comes too fast otherwise,
# as from peers that flap or a service that cannot start, one mail a minute tells, then one in five.
set -u
PATH=$PATH:/usr/sbin

readonly together=2 shortest=60 longest=300 # seconds
readonly lines=100 characters=2000          # of one mail, and of one line

send() { # how many, the lines
    local subject=${2%%$'\n'*}
    (($1 == 1)) || subject="$1 warnings: $subject"
    subject=$(printf '%s' "$subject" | LC_ALL=C tr -cd ' -~' | cut -c 1-200)
    (($1 <= lines)) || set -- "$1" "$2"$'\n'"and $(($1 - lines)) more: journalctl -u hbd -p warning"
    printf 'To: %s\nSubject: hbd on %s: %s\nMIME-Version: 1.0\n%s\n\n%s\n' "$to" "$(hostname)" \
        "$subject" 'Content-Type: text/plain; charset=utf-8' "$2" |
        LC_ALL=C tr -d '\000-\010\013-\037\177' |
        sendmail -i -t || echo "<4>no mail could be sent of: ${2%%$'\n'*}"
}

mail() {
    local line told count until last=-$longest pause=$shortest
    trap : TERM # to mail of what is there already; journalctl ends, and so does this
    while IFS= read -r line; do
        told=${line:0:characters} count=1
        until=$((last + pause > SECONDS + together ? last + pause : SECONDS + together))
        while ((SECONDS < until)) && IFS= read -r -t $((until - SECONDS)) line; do
            ((++count > lines)) || told+=$'\n'${line:0:characters}
        done
        send "$count" "$told"
        pause=$((SECONDS - last > 2 * pause ? shortest : 2 * pause))
        pause=$((pause > longest ? longest : pause)) last=$SECONDS
    done
}

to=$1
command -v sendmail >/dev/null || {
    echo "<3>there is no sendmail: install a mailer, such as msmtp-mta, then systemctl restart hbd-mail"
    exit 78
}
trap : TERM
# By fields that the journal itself vouches for: no other user can have a mail sent.
journalctl --follow --since=now --output=cat --output-fields=MESSAGE --priority=warning \
    _SYSTEMD_UNIT=hbd.service + _PID=1 UNIT=hbd.service | mail
