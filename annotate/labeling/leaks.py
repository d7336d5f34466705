"""Identity leaks: sentences by which a response tells who wrote it ("I am ChatGPT", "trained by OpenAI").

A judgment is blind only if the text is. Pure: a text in, the telling phrases out. What counts is that the text speaks
of itself: a response about Claude Monet, or one that compares GPT-4 with others, leaks nothing.
"""

import re
from collections.abc import Iterable

_MODELS = (
    r"ChatGPT|GPT[- ]?[345](?:\.5|o)?(?:[- ]turbo)?|InstructGPT|Claude(?:[- ]\d\S*)?|Gemini|Bard|LaMDA|PaLM|"
    r"Llama(?:[- ]?\d\S*)?|LLaMA(?:[- ]?\d\S*)?|Mistral|Mixtral|Le Chat|Qwen\S*|Tongyi Qianwen|DeepSeek\S*|Grok|"
    r"Copilot|Bing Chat|Vicuna|Alpaca|Koala|Falcon|Dolly|OpenAssistant|Open Assistant|StableLM|ChatGLM\S*|Baichuan|"
    r"ERNIE Bot|Kimi|Gemma|Command R\+?|Jamba|Phi-\d\S*|通义千问|文心一言|豆包|混元|讯飞星火|智谱清言"
)
_MAKERS = (
    r"Open ?AI|Anthropic|Google(?: DeepMind)?|DeepMind|Meta(?: AI)?|Facebook|Microsoft|Mistral(?: AI)?|"
    r"Alibaba(?: Cloud)?|DeepSeek|xAI|Cohere|LMSYS|Stability(?: AI)?|Databricks|Baidu|Tencent|ByteDance|Zhipu(?: AI)?|"
    r"Moonshot(?: AI)?|Inflection(?: AI)?|AI21(?: Labs)?|Apple|Amazon|NVIDIA|"
    r"阿里云|阿里巴巴|百度|腾讯|字节跳动|智谱|月之暗面|深度求索"
)
_MADE = r"(?:trained|developed|created|made|built|designed|fine-?tuned|programmed|provided|released)"
# Words that may stand between "I am" and a name: "I am actually an AI assistant called …".
_BETWEEN = (
    r"(?!an? (?:Gemini|Falcon|Koala|Alpaca)\b)"
    r"(?:(?:actually|just|only|an?|the|AI|A\.I\.|artificial|intelligence|large|language|model|chat ?bot|assistant|"
    r"virtual|helpful|called|named|known|as|based|on|powered|by|version|of|system|,)\s*){0,12}"
)
_I_AM = r"(?:I am|I['’]m)"
_AI = r"(?:AI|artificial intelligence|(?:large )?language model|chat ?bot|virtual assistant|LLM)"

# Not a name's beginning: "I am Claude Monet's neighbour", "I am Gemini season's child".
_END = r"(?![\w'’-]|\s+[A-Z][a-z]|\s+(?:season|sun|moon|rising))"
# The same in other languages, by their words and not by their grammar: who speaks, what it is, who made it.
_SELF = (
    r"\b[Aa]ls|\b[Ii]ch|\b[Ee]n tant qu|\b[Jj]e|\b[Cc]omo|\b[Ss]oy|\b[Ff]ui|\b[Ss]ono|\b[Ii]n quanto|\b[Cc]ome|"
    r"作为|作為|我|私|Я|\bКак|\bя|저|나는"
)
_AI_ABROAD = (
    r"\bKI\b|\bKI-|[Ss]prachmodell|Assistent|Chatbot|mod[eè]le de langage|modelo de lengua|modello linguistico|\bIA\b|"
    r"assistant|asistente|assistente|языков|нейросет|语言模型|語言模型|人工智能|助手|言語モデル|アシスタント|언어 ?모델"
)
_MY_NAME = (
    r"\b[Mm]ein Name ist|\b[Ii]ch heiße|\b[Jj]e suis|\b[Jj]e m['’]appelle|\b[Mm]on nom est|\b[Ss]oy|\b[Mm]e llamo|"
    r"\b[Mm]i nombre es|\b[Ss]ono|\b[Mm]i chiamo|我的名字是|我的名字叫|私は|私の名前は|Я|\b[Мм]еня зовут|저는|제 이름은"
)
_IN_SENTENCE = r"[^.!?。！？\n]"
_END_ABROAD = r"(?![A-Za-z0-9'’-]|\s+[A-Z][a-z])"
_PATTERNS = [
    rf"\b(?:{_I_AM}|[Mm]y name(?: is|['’]s)|[Yy]ou can call me|[Tt]hey call me)\s+{_BETWEEN}(?:{_MODELS}){_END}",
    rf"\b(?:[Aa]s|[Bb]eing)\s+(?:{_MODELS})\s*,\s+I\b",
    rf"\b(?:{_I_AM}|[Aa]s|[Bb]eing)\s+(?:just |only )?an?\s+[^.!?\n]{{0,40}}?{_AI}[^.!?\n]{{0,40}}?"
    rf"\b{_MADE} by\s+[^\s.,;!?]+",
    rf"\b(?:I was|I(?:['’]ve| have) been|{_I_AM})\s+{_MADE}(?:\s+and\s+\w+)?\s+by\s+(?:the\s+\w+\s+)?(?:{_MAKERS})\b",
    rf"\b(?:{_MAKERS})\s+(?:{_MADE}|trains|made)\s+me\b",
    rf"\b[Mm]y (?:creators?|developers?|makers?)(?:,| is| are| at)\s+(?:{_MAKERS})\b",
    r"\b[Mm]y (?:knowledge|training)(?: data)?(?:['’]s)? (?:cut-?off|(?:only )?(?:ends|ended|goes up to|extends to))",
    r"\b[Ii]ch (?:bin|heiße)\s+(?:\w+\s+){0,5}?(?:" + _MODELS + r")" + _END,
    rf"\b[Ii]ch (?:wurde|bin)\s+(?:\w+\s+){{0,4}}?von\s+(?:{_MAKERS})\b",
    rf"我(?:是|叫)[^。！？\n]{{0,12}}?(?:{_MODELS})",
    rf"我[^。！？\n]{{0,12}}?(?:由|是)\s*(?:{_MAKERS})[^。！？\n]{{0,8}}?(?:开发|训练|研发|创建|推出)",
    rf"(?:{_SELF})(?={_IN_SENTENCE}{{0,80}}?(?:{_AI_ABROAD})){_IN_SENTENCE}{{0,80}}?(?:{_MAKERS}){_END_ABROAD}",
    rf"(?:{_MY_NAME})\s*{_IN_SENTENCE}{{0,24}}?(?:{_MODELS}){_END_ABROAD}",
    rf"\b{_I_AM}\s+[^.!?\n]{{1,30}},\s+{_MADE} by\s+(?:{_MAKERS})\b",
    r"\b[Tt]his is (?:ChatGPT|GPT-\d\w*)\b|\b(?:ChatGPT|GPT-\d\w*|Claude) here\b(?=\s*[.,!:])",
    # What is left over of a chat template names the family of models that it belongs to.
    r"<\|(?:im_start|im_end|eot_id|endoftext|start_header_id|assistant|user|system|end)\|>|<(?:start|end)_of_turn>|"
    r"\[/?INST\]|<</?SYS>>",
]
_LEAK = re.compile("|".join(f"(?:{pattern})" for pattern in _PATTERNS))
# None of the patterns matches a text without one of these: a quick look that spares most texts the long one.
_WORTH_A_LOOK = re.compile(
    rf"{_MADE} by|{_MAKERS}|{_MODELS}|[Kk]nowledge|[Tt]raining|<\||\[/?INST\]|_of_turn>|SYS>>", re.ASCII
)
# A generator's name is looked for if no ordinary word can be meant: "policy-3", "gpt4", not "human".
_TELLING_NAME = re.compile(r"[\w.]*[\d_/-][\w./-]*\Z")


def find_leaks(text: str, own_names: Iterable[str] = ()) -> list[str]:
    """The phrases of `text` that tell who wrote it, each once, in their order; `own_names` are its generator's."""
    found = [hit[0].strip() for hit in _LEAK.finditer(text)] if _WORTH_A_LOOK.search(text) else []
    for name in own_names:
        if len(name) >= 4 and _TELLING_NAME.match(name):
            found += re.findall(rf"(?<![\w-]){re.escape(name)}(?![\w-])", text, re.IGNORECASE)
    return list(dict.fromkeys(found))
