# check.sh PROGRAM FOLDER OPTIONS: check the configuration in FOLDER as far as that is possible without the host that
# it is for, and name the option that each error came from. OPTIONS has a line "FILE<tab>OPTION" for each file below FOLDER;
# an empty FILE stands for all that have no line of their own.
set -u
program=$1 folder=$2 options=$3

if report=$("$program" check --no-host --config "$folder" 2>&1); then
  if [ -n "$report" ]; then echo "$report" >&2; fi
  exit 0
fi

declare -A option_of=()
while IFS=$'\t' read -r file option; do
  option_of["/$file"]=$option
done < <(sed 's/^\t/.\t/' "$options")

echo "services.vsmtp: the configuration cannot be used (it is in $folder):" >&2
while IFS= read -r line; do
  # The source of the error above, which needs no option.
  if [[ $line == ' '* ]]; then
    printf '%s\n' "$line" >&2
    continue
  fi
  file=${line%%:*}
  file=${file#"$folder/"}
  option=${option_of["/$file"]-${option_of["/."]-}}
  if [ -n "$option" ] && [ "$file" != "$line" ]; then
    line="$option: $file${line#"${line%%:*}"}"
  fi
  printf '%s\n' "$line" >&2
done <<<"$report"
exit 1
