#!/bin/sh
# Runs the runner with a beacon beside it: entrypoint.sh --jitconfig …
: "${RUNNER_ROOT:=/home/runner}" "${STORE:?such as sqlite:/var/lib/scale-in-guard/guard.sqlite}"

scale-in-guard beacon --runner-root "$RUNNER_ROOT" ${SCOPE:+--scope "$SCOPE"} --store "$STORE" --wait 5m &
beacon=$!
"$RUNNER_ROOT/run.sh" "$@" &
runner=$!
trap 'kill -TERM "$runner" 2>/dev/null' TERM INT

# A signal ends a wait early.
while :; do
    wait "$runner"
    status=$?
    kill -0 "$runner" 2>/dev/null || break
done
kill -TERM "$beacon" 2>/dev/null
wait "$beacon"
exit "$status"
