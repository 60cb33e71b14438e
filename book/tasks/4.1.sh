# 4.1: count_letter runs.
rpc tools/list
json 'count_letter is in the list' 200 '.result.tools[] | select(.name == "count_letter") | .inputSchema.properties.letter.maxLength == 1'
tool count_letter '{"text":"strawberry","letter":"r"}'
json 'there are three r in strawberry' 200 '.result | .structuredContent.count == 3 and .isError == false'
tool count_letter '{"text":"Élan élan","letter":"é"}'
json 'a letter may be longer than one byte' 200 '.result.structuredContent.count == 1'
tool count_letter '{"text":"strawberry","letter":"rr"}'
json 'two letters are a mistake that a model can mend' 200 '.result.isError == true and (.result.content[0].text | test("letter"))'
tool count_letter '{"text":"strawberry","letter":""}'
json 'so is no letter' 200 '.result.isError == true and (.result.content[0].text | test("letter"))'
