# 1.1: /health says for how long the server has been up.
get /health
json '/health says how long the server has been up, in whole seconds' 200 \
    '.status == "ok" and (.uptime_seconds | type == "number" and . >= 0 and . == floor)'
