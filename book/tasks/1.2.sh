# 1.2: what another site's page embeds is refused, though it has no Origin.
get /health -H 'Sec-Fetch-Site: cross-site' -H 'Sec-Fetch-Mode: no-cors'
json 'an image on another site is refused' 403 '.error | type == "string"'
get /mcp -H 'Sec-Fetch-Site: cross-site' -H 'Sec-Fetch-Mode: no-cors'
refusal 'on /mcp, people read why' 403 null '.error | type == "string"'
get /health -H 'Sec-Fetch-Site: cross-site' -H 'Sec-Fetch-Mode: navigate'
status 'a link on another site may be followed' 200
get /health -H 'Sec-Fetch-Site: same-origin' -H 'Sec-Fetch-Mode: cors'
status 'a page of our own may ask' 200
get /health -H 'Origin: http://127.0.0.1:5173' -H 'Sec-Fetch-Site: cross-site' -H 'Sec-Fetch-Mode: cors'
status 'an Origin that is allowed decides' 200
