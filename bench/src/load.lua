-- What wrk sends, and how it judges what comes back. Arguments: a folder with the files `head`, `tokens`, `tail`
-- and `answers`, the status that every answer must have, and the pause before each request (milliseconds, on
-- average). Request n is head, token n, tail; an answer is right if its body is a line of `answers`, byte for byte. A
-- token with a * is another one each time it is sent.
local requests, answers, turn = {}, {}, 0
local before, after
status = 0
right, wrong, sample = 0, 0, ''

local function read(path)
  local file = assert(io.open(path, 'rb'))
  local text = file:read('*a')
  file:close()
  return text
end

function init(args)
  local folder = args[1]
  status = tonumber(args[2])
  local pause = tonumber(args[3])
  if pause > 0 then
    delay = function() return math.random(0, 2 * pause) end
  end
  local head, tail = read(folder .. '/head'), read(folder .. '/tail')
  local count = 0
  for token in io.lines(folder .. '/tokens') do
    count = count + 1
    requests[count] = head .. token .. tail
  end
  for answer in io.lines(folder .. '/answers') do answers[answer] = true end
  local star = string.find(requests[1], '*', #head, true)
  if star then
    before, after = string.sub(requests[1], 1, star - 1), string.sub(requests[1], star + 1)
    turn = os.time() * 1000000
    request = function()
      turn = turn + 1
      return string.format('%s%016.0f%s', before, turn, after)
    end
  elseif count == 1 then
    local only = requests[1]
    request = function() return only end
  else
    request = function()
      turn = turn % count + 1
      return requests[turn]
    end
  end
end

function response(code, headers, body)
  if code == status and answers[body] then
    right = right + 1
  else
    wrong = wrong + 1
    sample = code .. ' ' .. body
  end
end

local threads = {}
function setup(thread) table.insert(threads, thread) end

function done(summary, latency)
  local sum = { right = 0, wrong = 0 }
  for _, thread in ipairs(threads) do
    sum.right, sum.wrong = sum.right + thread:get('right'), sum.wrong + thread:get('wrong')
    if thread:get('sample') ~= '' then print('wrong answer: ' .. thread:get('sample')) end
  end
  local errors = summary.errors
  local function show(name, value) print(string.format('%s: %.0f', name, value)) end
  show('right', sum.right)
  show('wrong', sum.wrong)
  show('broken', errors.connect + errors.read + errors.write + errors.timeout)
  show('microseconds', summary.duration)
  local all = {}
  for i = 1, #latency do
    local value, count = latency(i)
    all[i] = string.format('%.0f*%.0f', value, count)
  end
  print('latencies: ' .. table.concat(all, ' '))
end
