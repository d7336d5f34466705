"""Identity leaks: what tells who wrote a response, and what only speaks about models."""

import time

import pytest

from annotate.labeling.leaks import find_leaks

TELLING = [
    "I am ChatGPT, a large language model trained by OpenAI.",
    "Hi! I'm Claude, made by Anthropic. How can I help?",
    "My name is Gemini and I can help with that.",
    "I’m actually an AI assistant called Qwen2.5-7B.",
    "As an AI language model developed by OpenAI, I cannot smoke.",
    "As an AI model made by Anthropic I have no taste buds.",
    "as a large language model trained by Google, I do not have opinions",
    "I am a language model fine-tuned by some university.",
    "I was trained by Meta AI on public text.",
    "I was created and trained by OpenAI.",
    "As ChatGPT, I have no body.",
    "I'm GPT-4, so no.",
    "OpenAI trained me to refuse this.",
    "My creators at Anthropic decided otherwise.",
    "My knowledge cutoff is September 2021.",
    "my training data only goes up to 2023",
    "Ich bin ChatGPT, ein Sprachmodell.",
    "Ich wurde von OpenAI entwickelt.",
    "我是通义千问，由阿里云开发。",
    "我是由OpenAI训练的语言模型。",
    "Als KI-Modell von OpenAI kann ich das nicht.",
    "Als von OpenAI entwickeltes Sprachmodell kann ich das nicht.",
    "Ich bin ein Sprachmodell, das von OpenAI entwickelt wurde.",
    "Mein Name ist Claude.",
    "作为OpenAI训练的语言模型，我不能",
    "作为一个由OpenAI开发的人工智能助手，我无法",
    "我的名字是 Claude",
    "Je suis ChatGPT, un modèle de langage.",
    "En tant que modèle de langage développé par OpenAI, je ne peux pas",
    "Soy ChatGPT, un modelo de lenguaje.",
    "Como modelo de lenguaje creado por Anthropic, no puedo",
    "私はOpenAIによって開発されたChatGPTです。",
    "Я ChatGPT, языковая модель от OpenAI.",
    "Sono Claude, sviluppato da Anthropic",
    "저는 OpenAI에서 개발한 ChatGPT입니다",
    "Hi! This is ChatGPT speaking.",
    "ChatGPT here!",
    "I'm o1, made by OpenAI.",
    "Sure!<|im_end|>",
    "[INST] Say it [/INST] It is said.",
    "Right.<end_of_turn>",
]
HARMLESS = [
    "I am a fan of Claude Monet and of Gemini Rue.",
    "I am Claude Monet's neighbour, says the guide.",
    "GPT-4 was trained by OpenAI; Claude was made by Anthropic.",
    "ChatGPT answers faster than Bard in our test.",
    "As an AI language model, I cannot feel pain.",
    "I'm a Gemini, born in June.",
    "I am reading about llamas and alpacas.",
    "My training plan ends in May, before the marathon.",
    "My knowledge of French is small.",
    "The bridge was built by Apple Construction in 1950.",
    "The model was developed by Meta in 2023.",
    "I was employed by Google for ten years.",
    "I was born in Kimi, a village in Greece.",
    "Use `<div>` and `[0]` here.",
    "我喜欢百度搜索。",
    "Ich bin mit Google zufrieden.",
    "Ich habe Claude Monet gern.",
    "OpenAI hat ein Sprachmodell, und Google auch.",
    "Je préfère Google à Apple.",
    "This is Claude Monet's garden, and here is Gemini.",
    "我觉得百度很好用。",
    "",
]


@pytest.mark.parametrize("text", TELLING)
def test_a_text_that_says_who_wrote_it(text):
    leaks = find_leaks(text)
    assert leaks
    assert all(leak in text for leak in leaks)


@pytest.mark.parametrize("text", HARMLESS)
def test_a_text_that_says_nothing_of_itself(text):
    assert find_leaks(text) == []


def test_the_name_of_the_generator_itself():
    assert find_leaks("Here policy-3 speaks.", ["policy-3"]) == ["policy-3"]
    assert find_leaks("Answer of Llama-7B/chat.", ["llama-7b/chat"]) == ["Llama-7B/chat"]
    assert find_leaks("A human wrote it, the base is there.", ["human", "base"]) == []
    assert find_leaks("policy-31 is another one", ["policy-3"]) == []


def test_each_phrase_once_in_order():
    text = "I'm Claude. I was made by Anthropic. I'm Claude."
    assert find_leaks(text) == ["I'm Claude", "I was made by Anthropic"]


@pytest.mark.parametrize("text", ["I am an " * 20_000, "I am a, a, a, " * 5_000 + "Claude", "trained by " * 20_000,
                                  "我" * 50_000 + "OpenAI", "a" * 200_000 + " OpenAI"])  # fmt: skip
def test_no_text_takes_long(text):
    begin = time.process_time()
    find_leaks(text)
    assert time.process_time() - begin < 20
