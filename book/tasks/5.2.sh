# 5.2: gen-token says from when on a token is good.
later=$(token_part 1 "$(token alice mcp:read --not-before 5m)")
"$JQ" -se '.[0] | .nbf - .iat == 300' >/dev/null <<<"$later"
verdict '--not-before 5m: nbf is five minutes after iat' $? "$later"
earlier=$(token_part 1 "$(token alice mcp:read --not-before=-90s)")
"$JQ" -se '.[0] | .nbf - .iat == -90' >/dev/null <<<"$earlier"
verdict '--not-before=-90s: nbf is before iat' $? "$earlier"
without=$(token_part 1 "$(token alice mcp:read)")
"$JQ" -se '.[0] | has("iat") and (has("nbf") | not)' >/dev/null <<<"$without"
verdict 'without the option there is no nbf' $? "$without"
