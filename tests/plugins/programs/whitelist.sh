#!/bin/sh
# A write policy plugin: only authors whose keys are arguments may write.
while IFS= read -r line; do
  id=$(printf '%s\n' "$line" | sed 's/.*"event":{"id":"\([0-9a-f]*\)".*/\1/')
  author=$(printf '%s\n' "$line" | sed 's/.*"event":{"id":"[0-9a-f]*","pubkey":"\([0-9a-f]*\)".*/\1/')
  case " $* " in
    *" $author "*) printf '{"id":"%s","action":"accept"}\n' "$id" ;;
    *) printf '{"id":"%s","action":"reject","msg":"blocked: not on the white list"}\n' "$id" ;;
  esac
done
