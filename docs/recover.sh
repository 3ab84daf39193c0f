#!/bin/sh
# Everything back from a destination of kind `cas` in a directory, without lastcopy and without its index.
# Needs zstd, jq, b3sum and what every shell comes with.
#
#     recover.sh DESTINATION-DIR TARGET-DIR
#
# Writes TARGET-DIR/<volume>/<path> for each file that its volume had at the last push of any life of its index, or had offloaded by then,
# and checks every byte. Overwrites nothing. Names what is damaged, missing or in the way, goes on, and then ends with status 1.
set -eu
export LC_ALL=C # Paths are bytes.
from=$1 to=$2 tab=$(printf '\t') failed=0

complain() {
    printf '%s\n' "$*" >&2
    failed=1
}

# Whether a file hashes to a digest.
is() { [ "$(b3sum --no-names <"$1")" = "$2" ]; }

jq -e '.format == 1 and .kind == "cas"' "$from/.lastcopy-destination.json" >/dev/null || {
    complain "$from: no destination of kind cas, in format 1. In a mirror, files lie at their paths; a repository of kopia's, kopia restores"
    exit 1
}
mkdir -p "$to"
files=$to/.files last=$to/.last part=$to/.part

for volume in "$from"/volumes/*/; do
    # Each life of an index has a head of its own. Oldest first: none before one that it continues, as its full segment says; for the
    # rest, the time in the heads decides.
    set -- "$volume"*/head.json
    [ -f "$1" ] || continue
    for head; do
        jq -e .segment "$head" >/dev/null 2>&1 || complain "$head: damaged; what this life alone knew is not brought back"
    done
    epochs=$({
        for head; do
            jq -r '["head", (.written | rtrimstr("Z")), .epoch] | @tsv' "$head" || true
        done
        for segment in "$volume"*/segments/*.jsonl.zst; do
            zstd -dcq "$segment" | head -n 1 | jq -r '["follows", .epoch, .follows_epoch // empty] | select(.[2]) | @tsv' || true
        done
    } 2>/dev/null | sort | awk -F '\t' '
        $1 == "follows" && $2 != $3 { follows[$2] = $3 }
        $1 == "head" { epoch[++count] = $3 }
        END {
            for (left = count; left > 0; left--) {
                newest = last = 0
                for (one = 1; one <= count; one++) if (!(one in done)) {
                    continued = 0
                    for (other = 1; other <= count; other++)
                        if (!(other in done) && follows[epoch[other]] == epoch[one]) continued = 1
                    if (!continued) newest = one
                    last = one
                }
                if (!newest) newest = last # A circle can only be a forgery.
                done[newest]
                order = epoch[newest] " " order
            }
            print order
        }')
    name='' && : >"$files"
    for epoch in $epochs; do
        # From the segment that the head names back to the first that needs no earlier one. Each names the digest of the one before.
        place=$volume$epoch
        set --
        link=$(jq -r '.segment | "\(.sequence) \(.digest)"' "$place/head.json")
        while [ -n "$link" ]; do
            segment=$(printf '%s/segments/%08d.jsonl.zst' "$place" "${link% *}")
            is "$segment" "${link#* }" || {
                complain "$segment: damaged or missing; what it and those before it say is not brought back"
                break
            }
            header=$(zstd -dcq "$segment" | head -n 1)
            [ $# -gt 0 ] || name=$(printf %s "$header" | jq -r .volume_name)
            set -- "$segment" "$@"
            link=$(printf %s "$header" | jq -r '.previous // empty | "\(.sequence) \(.digest)"')
        done
        [ $# -gt 0 ] || continue
        # What it says of each path. Paths in base64, because they may hold anything; mtime_ns as text, because not every jq keeps
        # nineteen digits.
        zstd -dcq "$@" | sed 's/,"mtime_ns":\(-*[0-9]*\),/,"mtime_ns":"\1",/' |
            jq -r --arg epoch "$epoch" 'select(.blake3 and ((.earlier | not) or .status == "present")) |
                [.path_base64 // (.path | @base64), (if .earlier then "stood" else .status end), .blake3, .mode, .mtime_ns,
                    $epoch] | @tsv' >>"$files"
    done
    [ -n "$name" ] || continue
    [ ! -e "$to/$name" ] || name=$name-$(basename "$volume") # Two nodes may call a volume the same.

    # What each path became last. What a life never had it may call missing because it began with an old copy of the index: then the
    # word of an earlier life stands. How a path stood before what is not here counts if nobody says anything else of it.
    awk -F '\t' '$2 == "stood" { if (!($1 in last)) { last[$1] = $0; stood[$1] = $6 } next }
        $2 != "missing" && $2 != "superseded" { had[$6, $1] = 1 }
        (($6, $1) in had) || !($1 in last) || stood[$1] == $6 { last[$1] = $0; delete stood[$1] } END { for (path in last) print last[path] }' "$files" >"$last"

    while IFS=$tab read -r path status blake3 mode mtime _; do
        case $status in present | quarantined | offloaded | stood) ;; *) continue ;; esac
        path=$(printf %s "$path" | base64 -d && printf /) # A final newline of a name is part of it.
        path=${path%/}
        case /$path/ in */../*) complain "$path: leads out of the volume" && continue ;; esac
        file=$to/$name/$path
        object=$from/objects/$(printf %.2s "$blake3")/$blake3
        if [ -e "$file" ] || [ -L "$file" ]; then
            complain "$file: is there already"
        elif ! cat <"$object" >"$part" || ! is "$part" "$blake3"; then
            complain "$file: its object is damaged or missing: $object"
        else
            case $mtime in -*) sign=- ;; *) sign= ;; esac
            mtime=$(printf %010d "${mtime#-}") # At least one digit before the last nine, which are nanoseconds.
            seconds=${mtime%?????????}
            chmod "$(printf %o "$mode")" "$part"
            touch -d "@$sign$seconds.${mtime#"$seconds"}" "$part"
            mkdir -p "${file%/*}" && mv "$part" "$file" || complain "$file: cannot be put there"
        fi
    done <"$last"
done
rm -f "$files" "$last" "$part"
exit "$failed"
