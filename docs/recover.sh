#!/bin/sh
# Everything back from a destination of kind `cas` in a directory, without lastcopy and without its index.
# Needs zstd, jq, b3sum and what every shell comes with.
#
#     recover.sh DESTINATION-DIR TARGET-DIR
#
# Writes TARGET-DIR/<volume>/<path> for each file that its volume had at the last push, or had offloaded by then, and checks
# every byte. Overwrites nothing. Names what is damaged, missing or in the way, goes on, and then ends with status 1.
set -eu
export LC_ALL=C # Paths are bytes.
from=$1 to=$2 tab=$(printf '\t') failed=0

complain() {
    printf '%s\n' "$*" >&2
    failed=1
}

# Whether a file hashes to a digest.
is() { [ "$(b3sum --no-names <"$1")" = "$2" ]; }

jq -e '.format == 1 and .kind == "cas"' "$from/.lastcopy-destination.json" >/dev/null
mkdir -p "$to"
files=$to/.files part=$to/.part

for volume in "$from"/volumes/*/; do
    # Each life of an index has a head of its own. The newest of those that no other one continues speaks for the volume.
    set -- "$volume"*/head.json
    [ -f "$1" ] || continue
    # A full segment says which one it continues; where it is damaged, the time in the heads has to do.
    continued=$(for segment in "$volume"*/segments/*.jsonl.zst; do
        zstd -dcq "$segment" | head -n 1 | jq -r 'select(.follows_epoch != .epoch) | .follows_epoch // empty' || true
    done 2>/dev/null)
    epoch=$(jq -r '[(.written | rtrimstr("Z")), .epoch] | @tsv' "$@" | sort | cut -f 2 | grep -vxF "${continued:-none}" | tail -n 1)
    place=$volume$epoch

    # From the segment that the head names back to the first that needs no earlier one. Each names the digest of the one before.
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
    [ ! -e "$to/$name" ] || name=$name-$(basename "$volume") # Two nodes may call a volume the same.

    # What each path became last. Paths in base64, because they may hold anything; mtime_ns as text, because not every jq keeps
    # nineteen digits.
    zstd -dcq "$@" | sed 's/,"mtime_ns":\(-*[0-9]*\),/,"mtime_ns":"\1",/' |
        jq -r 'select(.blake3) | [.path_base64 // (.path | @base64), .status, .blake3, .mode, .mtime_ns] | @tsv' |
        awk -F '\t' '{ last[$1] = $0 } END { for (path in last) print last[path] }' >"$files"

    while IFS=$tab read -r path status blake3 mode mtime; do
        case $status in present | quarantined | offloaded) ;; *) continue ;; esac
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
            mkdir -p "${file%/*}"
            mv "$part" "$file"
        fi
    done <"$files"
done
rm -f "$files" "$part"
exit "$failed"
