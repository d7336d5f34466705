"""What is true in the demo world: plain tables of everyday facts, and nothing about how they are asked."""

# Thing with its article -> its colour.
COLOURS = {
    "a lemon": "yellow", "a banana": "yellow", "the sun": "yellow", "a canary": "yellow",
    "grass": "green", "a frog": "green", "a pea": "green", "a cucumber": "green",
    "snow": "white", "milk": "white", "a swan": "white", "salt": "white",
    "coal": "black", "a raven": "black", "a tyre": "black",
    "a tomato": "red", "a strawberry": "red", "a fire engine": "red", "blood": "red",
    "a carrot": "orange", "a pumpkin": "orange", "a plum": "purple", "lavender": "purple",
    "the sky": "blue", "a blueberry": "blue", "chocolate": "brown", "a chestnut": "brown",
    "a flamingo": "pink", "a pig": "pink", "an elephant": "grey", "a dolphin": "grey",
}

OPPOSITES = {
    "hot": "cold", "big": "small", "fast": "slow", "happy": "sad", "light": "dark", "open": "closed",
    "old": "young", "wet": "dry", "hard": "soft", "loud": "quiet", "rich": "poor", "early": "late",
    "full": "empty", "high": "low", "long": "short", "strong": "weak", "clean": "dirty", "near": "far",
    "day": "night", "left": "right", "up": "down", "first": "last", "sweet": "sour", "easy": "difficult",
    "thick": "thin", "brave": "afraid", "awake": "asleep", "push": "pull", "remember": "forget", "win": "lose",
}

# Singular -> (plural, a tempting mistake).
PLURALS = {
    "mouse": ("mice", "mouses"), "foot": ("feet", "foots"), "tooth": ("teeth", "tooths"),
    "goose": ("geese", "gooses"), "child": ("children", "childs"), "man": ("men", "mans"),
    "woman": ("women", "womans"), "leaf": ("leaves", "leafs"), "knife": ("knives", "knifes"),
    "wolf": ("wolves", "wolfs"), "loaf": ("loaves", "loafs"), "shelf": ("shelves", "shelfs"),
    "box": ("boxes", "boxs"), "baby": ("babies", "babys"), "city": ("cities", "citys"),
    "cherry": ("cherries", "cherrys"), "tomato": ("tomatoes", "tomatos"), "potato": ("potatoes", "potatos"),
    "hero": ("heroes", "heros"), "bus": ("buses", "buss"), "person": ("people", "peoples"),
    "ox": ("oxen", "oxes"), "half": ("halves", "halfs"), "story": ("stories", "storys"),
}

SOUNDS = {
    "a cow": "moo", "a dog": "woof", "a cat": "meow", "a duck": "quack", "a sheep": "baa", "a pig": "oink",
    "a horse": "neigh", "a bee": "buzz", "a snake": "hiss", "a lion": "roar", "a rooster": "cock-a-doodle-doo",
    "an owl": "hoot", "a mouse": "squeak", "a crow": "caw",
}

YOUNG = {
    "a cat": "a kitten", "a dog": "a puppy", "a cow": "a calf", "a sheep": "a lamb", "a horse": "a foal",
    "a goat": "a kid", "a duck": "a duckling", "a hen": "a chick", "a bear": "a cub", "a pig": "a piglet",
    "a frog": "a tadpole", "a kangaroo": "a joey", "a swan": "a cygnet", "a deer": "a fawn", "a goose": "a gosling",
}

HOMES = {
    "a bee": "a hive", "a bird": "a nest", "a spider": "a web", "a dog": "a kennel", "a horse": "a stable",
    "a rabbit": "a burrow", "a lion": "a den", "a pig": "a sty", "a fish": "the water", "a king": "a castle",
    "a monk": "a monastery", "a farmer": "a farmhouse",
}

NUMBER_WORDS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten",
                "eleven", "twelve"]

# (what is counted, in what) -> how many.
COUNTS = {
    ("legs", "a spider"): 8, ("legs", "an ant"): 6, ("legs", "a dog"): 4, ("legs", "a bird"): 2,
    ("legs", "a snake"): 0, ("wheels", "a bicycle"): 2, ("wheels", "a car"): 4, ("wheels", "a tricycle"): 3,
    ("sides", "a triangle"): 3, ("sides", "a square"): 4, ("sides", "a hexagon"): 6, ("days", "a week"): 7,
    ("months", "a year"): 12, ("seasons", "a year"): 4, ("fingers", "a hand"): 5, ("arms", "an octopus"): 8,
    ("players", "a football team"): 11, ("strings", "a violin"): 4, ("eyes", "a cat"): 2, ("colours", "a rainbow"): 7,
}

CAPITALS = {
    "France": "Paris", "Italy": "Rome", "Spain": "Madrid", "Germany": "Berlin", "Japan": "Tokyo", "Egypt": "Cairo",
    "Greece": "Athens", "Norway": "Oslo", "Sweden": "Stockholm", "Portugal": "Lisbon", "Austria": "Vienna",
    "Poland": "Warsaw", "Ireland": "Dublin", "Russia": "Moscow", "China": "Beijing", "Kenya": "Nairobi",
    "Peru": "Lima", "Cuba": "Havana", "Canada": "Ottawa", "Hungary": "Budapest", "Finland": "Helsinki",
    "Denmark": "Copenhagen",
}

# Thing -> what it is, to follow "A … is".
DEFINITIONS = {
    "a library": "a place where people borrow books", "a museum": "a place where people look at old or rare things",
    "a bakery": "a shop where bread is made and sold", "a hospital": "a place where sick people are cared for",
    "a compass": "a tool that shows which way is north", "a thermometer": "a tool that measures how warm it is",
    "a telescope": "a tool for looking at the stars", "a calendar": "a chart of days, weeks and months",
    "a dictionary": "a book that explains words", "an umbrella": "a cover that keeps the rain off",
    "a volcano": "a mountain that can throw out hot rock", "an island": "land with water all around it",
    "a desert": "a very dry place with little rain", "a river": "water that flows to the sea",
    "a planet": "a large ball that travels around a star", "a rainbow": "an arc of colours made by sun and rain",
    "a plumber": "a person who repairs pipes", "a pilot": "a person who flies planes",
    "a dentist": "a person who looks after teeth", "a baker": "a person who makes bread",
    "a judge": "a person who decides in a court", "a gardener": "a person who looks after plants",
    "a poem": "a short text with rhythm and feeling", "a recipe": "a list of steps for cooking a dish",
}

# Task -> the Python that does it.
PYTHON = {
    "count the items in a list": "len(items)", "print a word": 'print("hello")', "sort a list": "sorted(items)",
    "add up the numbers in a list": "sum(numbers)", "find the largest number in a list": "max(numbers)",
    "find the smallest number in a list": "min(numbers)", "turn text into a number": 'int("42")',
    "turn a number into text": "str(42)", "read a line from the keyboard": "input()",
    "round a number": "round(2.7)", "add an item to a list": "items.append(item)",
    "make a text upper case": "text.upper()", "split a text into words": "text.split()",
    "reverse a list": "items.reverse()", "open a file": 'open("notes.txt")',
}

# Thing to do -> its steps in order. The first words of a step are unique within its list.
HOW_TO = {
    "make a cup of tea": ("Boil the water.", "Put a tea bag in the cup.", "Pour in the water.", "Wait three minutes."),
    "wash my hands": ("Wet your hands.", "Rub them with soap.", "Rinse them well.", "Dry them with a towel."),
    "plant a seed": ("Fill a pot with soil.", "Push the seed in.", "Water it a little.", "Put the pot in the sun."),
    "post a letter": ("Put the letter in an envelope.", "Write the address.",
        "Stick on a stamp.", "Take it to the post box."),
    "make toast": ("Cut a slice of bread.", "Put it in the toaster.", "Wait until it is brown.", "Spread the butter."),
    "fry an egg": ("Heat some oil in a pan.", "Crack the egg into it.",
        "Wait until the white is firm.", "Add a pinch of salt."),
    "borrow a library book": ("Find the book on the shelf.", "Take it to the desk.",
        "Show your card.", "Bring it back in time."),
    "wrap a present": ("Cut the paper.", "Fold it around the box.", "Fix it with tape.", "Tie a ribbon on top."),
    "brush my teeth": ("Wet the brush.", "Put on some toothpaste.", "Brush for two minutes.", "Rinse your mouth."),
    "water the plants": ("Fill the can.", "Feel the soil.", "Pour slowly at the roots.", "Stop when the soil is wet."),
    "cross the road safely": ("Stop at the kerb.", "Look left and right.",
        "Wait until it is clear.", "Walk straight across."),
    "clean a window": ("Mix water and soap.", "Wipe the glass.", "Rinse off the soap.", "Dry it with a cloth."),
}

# From the smallest to the biggest.
SIZES = ["an ant", "a mouse", "a cat", "a goat", "a horse", "a whale"]

DAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]
MONTHS = ["January", "February", "March", "April", "May", "June", "July", "August", "September", "October",
          "November", "December"]

# Kind (plural) -> members.
KINDS = {
    "fruits": ("apple", "pear", "plum", "peach", "grape", "banana", "cherry", "lemon"),
    "vegetables": ("carrot", "onion", "potato", "pea", "cabbage", "bean", "leek", "spinach"),
    "farm animals": ("cow", "pig", "sheep", "goat", "horse", "hen", "duck", "goose"),
    "birds": ("owl", "robin", "eagle", "swan", "crow", "parrot", "penguin", "stork"),
    "tools": ("hammer", "saw", "drill", "spade", "rake", "wrench", "chisel", "file"),
    "vehicles": ("car", "bus", "train", "tram", "lorry", "bicycle", "boat", "plane"),
    "musical instruments": ("violin", "piano", "flute", "drum", "guitar", "harp", "trumpet", "cello"),
    "sports": ("football", "tennis", "hockey", "rugby", "golf", "rowing", "skiing", "judo"),
    "drinks": ("tea", "coffee", "water", "milk", "juice", "cocoa", "lemonade", "cider"),
    "trees": ("oak", "elm", "pine", "birch", "willow", "maple", "ash", "beech"),
}

# A false claim asked about as if it were true: (question, the truth, the words that deny it, a false reason).
FALSE_PREMISES = [
    ("Why is the sky green?", "The sky is not green. It is blue.", "not green",
     "The sky is green because it mirrors the grass."),
    ("Why do fish live in trees?", "Fish do not live in trees. They live in water.", "not live in trees",
     "Fish live in trees because the sea is too cold."),
    ("Why is ice hot?", "Ice is not hot. It is frozen water.", "not hot", "Ice is hot because it lies in the sun."),
    ("Why do cows lay eggs?", "Cows do not lay eggs. Hens do.", "not lay eggs",
     "Cows lay eggs because they are hungry."),
    ("Why does the sun rise in the west?", "The sun does not rise in the west. It rises in the east.",
     "not rise in the west", "The sun rises in the west because the earth is round."),
    ("Why is Paris in Spain?", "Paris is not in Spain. It is in France.", "not in Spain",
     "Paris is in Spain because an old king moved it."),
    ("Why do cats bark?", "Cats do not bark. Dogs do.", "not bark", "Cats bark because they want to be dogs."),
    ("Why is the moon made of cheese?", "The moon is not made of cheese. It is made of rock.", "not made of cheese",
     "The moon is made of cheese because of the Milky Way."),
    ("Why do spiders have six legs?", "Spiders do not have six legs. They have eight.", "not have six legs",
     "Spiders have six legs because they lost two."),
    ("Why is a week ten days long?", "A week is not ten days long. It has seven days.", "not ten days",
     "A week is ten days long because we have ten fingers."),
    ("Why do birds have four wings?", "Birds do not have four wings. They have two.", "not have four wings",
     "Birds have four wings because flying is hard."),
    ("Why is snow black?", "Snow is not black. It is white.", "not black", "Snow is black because it falls at night."),
    ("Why do plants eat stones?", "Plants do not eat stones. They need light and water.", "not eat stones",
     "Plants eat stones because the soil is full of them."),
    ("Why is a whale a fish?", "A whale is not a fish. It is a mammal.", "not a fish",
     "A whale is a fish because it swims."),
    ("Why do penguins fly so well?", "Penguins do not fly. They swim very well.", "not fly",
     "Penguins fly well because they have strong wings."),
    ("Why is winter warmer than summer?", "Winter is not warmer than summer. It is colder.", "not warmer",
     "Winter is warmer because of the snow."),
    ("Why does two plus two make five?", "Two plus two does not make five. It makes four.", "not make five",
     "Two plus two makes five because one is hidden."),
    ("Why is a tomato blue?", "A tomato is not blue. It is red.", "not blue",
     "A tomato is blue because it grows near the sea."),
    ("Why do bees make butter?", "Bees do not make butter. They make honey.", "not make butter",
     "Bees make butter because flowers are soft."),
]

# Rude request -> the polite one.
POLITE = {
    "Give me the salt.": "Could you please pass me the salt?", "Move your bag.": "Could you please move your bag?",
    "Be quiet.": "Could you please speak more quietly?", "Open the door.": "Could you please open the door?",
    "Send me the file.": "Could you please send me the file?", "Come here.": "Could you please come over here?",
    "Wait.": "Could you please wait a moment?", "Call me back.": "Could you please call me back?",
    "Help me.": "Could you please help me?", "Turn off the music.": "Could you please turn off the music?",
    "Get me a coffee.": "Could you please bring me a coffee?", "Fix this.": "Could you please fix this?",
    "Tell me the price.": "Could you please tell me the price?", "Sign here.": "Could you please sign here?",
}

# (present, past, a tempting mistake) of a verb.
VERBS = [
    ("walk", "walked", "walken"), ("eat", "ate", "eated"), ("go", "went", "goed"), ("run", "ran", "runned"),
    ("sing", "sang", "singed"), ("read", "read", "readed"), ("write", "wrote", "writed"),
    ("play", "played", "plaied"), ("swim", "swam", "swimmed"), ("drive", "drove", "drived"),
    ("sleep", "slept", "sleeped"), ("work", "worked", "worken"),
]
# What may follow each verb.
VERB_ENDINGS = {
    "walk": ("home", "to school"), "eat": ("an apple", "soup"), "go": ("home", "to the market"),
    "run": ("to the bus", "home"), "sing": ("a song", "in the choir"), "read": ("a book", "in the garden"),
    "write": ("a letter", "a story"), "play": ("chess", "in the garden"), "swim": ("in the lake", "to the boat"),
    "drive": ("home", "to work"), "sleep": ("well", "on the train"), "work": ("at home", "in the garden"),
}

# Misspelt -> right.
SPELLINGS = {
    "freind": "friend", "recieve": "receive", "becuase": "because", "tomorow": "tomorrow", "beleive": "believe",
    "wierd": "weird", "untill": "until", "definately": "definitely", "seperate": "separate", "adress": "address",
    "libary": "library", "suprise": "surprise", "neccessary": "necessary", "wich": "which", "thier": "their",
    "calender": "calendar", "begining": "beginning", "writting": "writing", "goverment": "government", "peice": "piece",
}
