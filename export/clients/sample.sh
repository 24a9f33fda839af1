#!/bin/sh
# Asks a TensorFlow Serving process for one sample over REST and writes it as a PNG file:
#   sh export/clients/sample.sh MODEL SEED OUT.png [SERVER]        such as smmd_mnist 7 sample.png
# SERVER is http://localhost:8501 unless given. Needs curl and base64.
# Exit code 0: done; 1: the server or the disk refused; 2: wrong arguments, or no curl.
set -eu

fail() {
    echo "sample.sh: $2" >&2
    exit "$1"
}

[ $# -eq 3 ] || [ $# -eq 4 ] || fail 2 "usage: sample.sh MODEL SEED OUT.png [SERVER]"
model=$1 seed=$2 out=$3 server=${4:-http://localhost:8501}
case ${seed#-} in
'' | *[!0-9]*) fail 2 "SEED '$seed' is not a 32-bit integer; give one such as 7." ;;
esac
# JSON knows no leading zeros.
sign=${seed%%[0-9]*} digits=$(printf '%s' "${seed#-}" | sed 's/^0*\(.\)/\1/')
[ ${#digits} -le 10 ] && [ "$sign$digits" -ge -2147483648 ] && [ "$sign$digits" -le 2147483647 ] ||
    fail 2 "SEED '$seed' is not a 32-bit integer; give one such as 7."
seed=$sign$digits
for program in curl base64; do
    command -v "$program" >/dev/null || fail 2 "there is no $program; install it."
done

url=$server/v1/models/$model:predict
# --fail would hide the server's own sentence.
reply=$(curl -sS --max-time 60 -H 'Content-Type: application/json' \
    -d "{\"signature_name\": \"sample_png\", \"instances\": [{\"seed\": [$seed, 0]}]}" "$url" 2>&1) ||
    fail 1 "$url gives no answer ($reply); is the server up?"
# The reply is {"predictions": [{"b64": "..."}]}, over several lines; a slash may be escaped.
png=$(printf '%s' "$reply" | tr -d '\n' |
    sed -n 's/.*"b64" *: *"\([^"]*\)".*/\1/p' | sed 's#\\/#/#g')
[ -n "$png" ] || fail 1 "$url refuses ($(printf '%s' "$reply" | tr '\n' ' ' | cut -c 1-300))."

temporary=$out.$$.tmp
if ! { printf '%s' "$png" | base64 -d >"$temporary" && mv "$temporary" "$out"; } 2>/dev/null; then
    rm -f "$temporary"
    fail 1 "'$out' cannot be written."
fi
echo "$out"
