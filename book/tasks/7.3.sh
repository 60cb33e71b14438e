# 7.3: a page where the browser lands after a log-in by hand.
TOKEN='' get '/callback?code=abc&state=x%3Cscript%3Ey&iss=http%3A%2F%2Flocalhost%3A9000'
status '/callback is there' 200
verdict 'it shows the code' "$(grep -q abc <<<"$BODY"; echo $?)" "$(answer)"
verdict 'it shows the state as it came' "$(grep -qF 'x<script>y' <<<"$BODY"; echo $?)" "$(answer)"
verdict 'it shows the issuer' "$(grep -qF http://localhost:9000 <<<"$BODY"; echo $?)" "$(answer)"
header 'it is plain text' 200 content-type '^text/plain'
header 'browsers do not take it for anything else' 200 x-content-type-options '^nosniff$'
header 'nothing keeps it' 200 cache-control 'no-store'
header 'the next page does not learn the URL' 200 referrer-policy '^no-referrer$'
