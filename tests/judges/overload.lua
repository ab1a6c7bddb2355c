-- A caller asks about once in 1.07 s: 300 of them 280 times a second. They do not all begin at once.
function delay()
   return math.random(570, 1570)
end
