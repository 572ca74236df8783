#!/bin/sh
# live.sh RECORDING: inside the image and as its user, the health check without and with a daemon, and two words that
# the daemon hears from a microphone. The microphone is ALSA's file plugin, which needs no sound card; the recording
# has three channels, two microphones and the loudspeaker.
set -eu

fail() {
  echo "$*" >&2
  exit 1
}

code=0
kwsctl status > /tmp/status 2>&1 || code=$?
[ "$code" = 69 ] || fail "the health check without a daemon: exit code $code, $(cat /tmp/status)"
grep -q "no kwsd answers" /tmp/status || fail "the health check does not say what is wrong: $(cat /tmp/status)"
echo "health check without a daemon: exit code 69, $(cat /tmp/status)"

# Without a service manager to tell, kwsd does not wait for a microphone; the engine's restart policy does.
code=0
timeout 60 kwsd --set audio.device=none_such > /tmp/away 2>&1 || code=$?
[ "$code" = 69 ] || fail "kwsd without its microphone: exit code $code, $(cat /tmp/away)"
echo "kwsd without its microphone: exit code 69"

mkfifo /tmp/microphone
cat > /tmp/asound.conf << 'ALSA'
pcm.fed { type file slave.pcm { type null } file "/dev/null" infile "/tmp/microphone" format "raw" }
ALSA
python /trial/feed_microphone.py "$1" /tmp/microphone &
ALSA_CONFIG_PATH=/tmp/asound.conf timeout 120 kwsd --set audio.device=fed --set audio.channels=3 \
  --set 'audio.mics=[0,1]' --set audio.reference=2 &
daemon=$!
tries=40
until kwsctl status > /tmp/status 2>&1 && grep -q '"state": "running"' /tmp/status; do
  tries=$((tries - 1))
  [ "$tries" -gt 0 ] || fail "no daemon with audio answers the health check: $(cat /tmp/status)"
  kill -0 "$daemon" 2> /dev/null || fail "kwsd ended"
  sleep 0.5
done
echo "health check with a daemon: exit code 0"

timeout 60 kwsctl events --json --count 2 wake/ > /tmp/events || true
[ "$(grep -c '"name": "computer"' /tmp/events)" = 2 ] || fail "live, not two words: $(cat /tmp/events)"
echo "live: both words heard"

kill "$daemon"
code=0
wait "$daemon" || code=$?
[ "$code" = 0 ] || fail "kwsd stopped with exit code $code"
