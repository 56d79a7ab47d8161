# Makes pairs.json: what Python's re finds in random lines with the pattern that A1111 reads infotext with.
import json
import random
import re

PATTERN = re.compile(r'\s*(\w[\w \-/]+):\s*("(?:\\.|[^\\"])+"|[^,]*)(?:,|$)')
random.seed(5)
alphabet = list('"\\,,,:::x1 \t-/_<>(') + ['Size', 'Steps', ', ', ': ', '"a, b"', 'é', '512x512']
lines = [''.join(random.choice(alphabet) for _ in range(random.randint(1, 30))) for _ in range(600)]
json.dump([[line, PATTERN.findall(line)] for line in lines], open('pairs.json', 'w'), ensure_ascii=False, indent=0)
