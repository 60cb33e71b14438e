# 3.1: count_letter is described.
rpc tools/list
json 'count_letter is in the list, after the others' 200 '[.result.tools[].name] | .[:2] == ["echo", "get_time"] and .[2] == "count_letter"'
json 'it has a title and a description' 200 '.result.tools[] | select(.name == "count_letter") | (.title | length > 0) and (.description | length > 0)'
json 'it takes a text and one letter, and nothing else' 200 '.result.tools[] | select(.name == "count_letter") | .inputSchema
    | (.required | sort) == ["letter", "text"] and .additionalProperties == false
    and .properties.text.type == "string" and (.properties.letter | .minLength == 1 and .maxLength == 1)'
json 'it returns a count' 200 '.result.tools[] | select(.name == "count_letter") | .outputSchema
    | .required == ["count"] and .properties.count.type == "integer"'
