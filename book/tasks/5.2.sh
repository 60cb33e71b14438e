# 5.2: gen-token says from when on a token is good.
later=$(token_part 1 "$(token alice mcp:read --not-before 5m)")
holds '.nbf - .iat == 300' <<<"$later"
verdict '--not-before 5m: nbf is five minutes after iat' $? "$later"
earlier=$(token_part 1 "$(token alice mcp:read --not-before=-90s)")
holds '.nbf - .iat == -90' <<<"$earlier"
verdict '--not-before=-90s: nbf is before iat' $? "$earlier"
without=$(token_part 1 "$(token alice mcp:read)")
holds 'has("iat") and (has("nbf") | not)' <<<"$without"
verdict 'without the option there is no nbf' $? "$without"
