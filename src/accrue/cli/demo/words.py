"""The names and texts of the demo's community, and the user agents of browsers and crawlers."""

from __future__ import annotations


def _listed(words: str) -> list[str]:
    return words.split()


WRITERS = _listed(
    "ada bela carla dilan elif farah goran hanna ilya jun kofi lena mina noor omar pilar quinn rosa sami tara umar "
    "vera wanda xenia yara zoe amir bruno chloe diego emma felix greta hugo ines jonas kira luca maya nils"
)

ADJECTIVES = _listed(
    "quiet long first late small bright hidden slow northern old paper winter open lost green early salt second "
    "distant plain"
)

NOUNS = _listed(
    "harbour garden letter train kitchen river morning island market window recipe bridge song orchard ferry library "
    "map storm lamp bakery mountain bicycle teapot tide atlas violin meadow station notebook lighthouse voyage"
)

COMMENTS = (
    "What I liked most is the part about the harbour.",
    "I read this twice and will read it again tomorrow.",
    "My grandmother told the same story, with another end.",
    "Could you write more about how you found the letters?",
)

SHORT_COMMENTS = ("Nice one!", "Thanks.", "So true")

BROWSERS = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10.15; rv:133.0) Gecko/20100101 Firefox/133.0",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.1 "
    "Mobile/15E148 Safari/604.1",
    "Mozilla/5.0 (X11; Linux x86_64; rv:132.0) Gecko/20100101 Firefox/132.0",
)

CRAWLERS = (
    "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
    "Googlebot-Image/1.0",
    "Mediapartners-Google",
    "Twitterbot/1.0",
    "WhatsApp/2.23.20.0",
)
