// The price table that is compiled in: dollars per million tokens, in our own format. Each entry
// tells the page it was published on and the month for which it is known to have held there; a
// newer price belongs into a price file, which replaces these entry by entry.
// `training` is that of supervised fine-tuning; reinforcement is charged by the hour, which no
// answer tells. Of sora-2-pro only the sizes whose price is published are listed: that of others is
// unknown.
#include "usage/price_table.hpp"

namespace kw::usage {

std::string_view builtin_prices_json() noexcept {
    // clang-format off
    return R"prices({"format": "keywheel-prices-1",
  "models": {
    "gpt-5.1": {"input": "1.25", "output": "10", "cached_read": "0.125", "batch": {"factor": "0.5"}, "flex": {"factor": "0.5"}, "priority": {"factor": "2"}, "per_search": "0.01", "source": "https://platform.openai.com/docs/pricing", "as_of": "2025-11"},
    "gpt-5": {"input": "1.25", "output": "10", "cached_read": "0.125", "batch": {"factor": "0.5"}, "flex": {"factor": "0.5"}, "priority": {"factor": "2"}, "per_search": "0.01", "source": "https://platform.openai.com/docs/pricing", "as_of": "2025-11"},
    "gpt-5-mini": {"input": "0.25", "output": "2", "cached_read": "0.025", "batch": {"factor": "0.5"}, "flex": {"factor": "0.5"}, "priority": {"factor": "1.8"}, "per_search": "0.01", "source": "https://platform.openai.com/docs/pricing", "as_of": "2025-11"},
    "gpt-5-nano": {"input": "0.05", "output": "0.40", "cached_read": "0.005", "batch": {"factor": "0.5"}, "flex": {"factor": "0.5"}, "per_search": "0.01", "source": "https://platform.openai.com/docs/pricing", "as_of": "2025-11"},
    "gpt-5-chat-latest": {"input": "1.25", "output": "10", "cached_read": "0.125", "per_search": "0.01", "source": "https://platform.openai.com/docs/pricing", "as_of": "2025-11"},
    "gpt-5-codex": {"input": "1.25", "output": "10", "cached_read": "0.125", "priority": {"factor": "2"}, "per_search": "0.01", "source": "https://platform.openai.com/docs/pricing", "as_of": "2025-11"},
    "gpt-5-pro": {"input": "15", "output": "120", "batch": {"factor": "0.5"}, "per_search": "0.01", "source": "https://platform.openai.com/docs/pricing", "as_of": "2025-11"},
    "gpt-4.1": {"training": "25", "input": "2", "output": "8", "cached_read": "0.50", "batch": {"factor": "0.5"}, "priority": {"factor": "1.75"}, "per_search": "0.01", "source": "https://platform.openai.com/docs/pricing", "as_of": "2025-11"},
    "gpt-4.1-mini": {"training": "5", "input": "0.40", "output": "1.60", "cached_read": "0.10", "batch": {"factor": "0.5"}, "priority": {"factor": "1.75"}, "per_search": "0.01", "source": "https://platform.openai.com/docs/pricing", "as_of": "2025-11"},
    "gpt-4.1-nano": {"training": "1.50", "input": "0.10", "output": "0.40", "cached_read": "0.025", "batch": {"factor": "0.5"}, "priority": {"factor": "2"}, "per_search": "0.01", "source": "https://platform.openai.com/docs/pricing", "as_of": "2025-11"},
    "gpt-4o": {"training": "25", "input": "2.50", "output": "10", "cached_read": "1.25", "batch": {"factor": "0.5"}, "priority": {"factor": "1.7"}, "per_search": "0.01", "source": "https://platform.openai.com/docs/pricing", "as_of": "2025-11"},
    "gpt-4o-2024-05-13": {"input": "5", "output": "15", "batch": {"factor": "0.5"}, "priority": {"factor": "1.75"}, "per_search": "0.01", "source": "https://platform.openai.com/docs/pricing", "as_of": "2025-11"},
    "gpt-4o-mini": {"training": "3", "input": "0.15", "output": "0.60", "cached_read": "0.075", "batch": {"factor": "0.5"}, "priority": {"input": "0.25", "cached_read": "0.125", "output": "1"}, "per_search": "0.01", "source": "https://platform.openai.com/docs/pricing", "as_of": "2025-11"},
    "chatgpt-4o-latest": {"input": "5", "output": "15", "per_search": "0.01", "source": "https://platform.openai.com/docs/pricing", "as_of": "2025-11"},
    "o1": {"input": "15", "output": "60", "cached_read": "7.50", "batch": {"factor": "0.5"}, "per_search": "0.01", "source": "https://platform.openai.com/docs/pricing", "as_of": "2025-11"},
    "o1-mini": {"input": "1.10", "output": "4.40", "cached_read": "0.55", "batch": {"factor": "0.5"}, "per_search": "0.01", "source": "https://platform.openai.com/docs/pricing", "as_of": "2025-11"},
    "o1-pro": {"input": "150", "output": "600", "batch": {"factor": "0.5"}, "per_search": "0.01", "source": "https://platform.openai.com/docs/pricing", "as_of": "2025-11"},
    "o3": {"input": "2", "output": "8", "cached_read": "0.50", "batch": {"factor": "0.5"}, "flex": {"factor": "0.5"}, "priority": {"factor": "1.75"}, "per_search": "0.01", "source": "https://platform.openai.com/docs/pricing", "as_of": "2025-11"},
    "o3-pro": {"input": "20", "output": "80", "batch": {"factor": "0.5"}, "per_search": "0.01", "source": "https://platform.openai.com/docs/pricing", "as_of": "2025-11"},
    "o3-mini": {"input": "1.10", "output": "4.40", "cached_read": "0.55", "batch": {"factor": "0.5"}, "per_search": "0.01", "source": "https://platform.openai.com/docs/pricing", "as_of": "2025-11"},
    "o3-deep-research": {"input": "10", "output": "40", "cached_read": "2.50", "batch": {"factor": "0.5"}, "per_search": "0.01", "source": "https://platform.openai.com/docs/pricing", "as_of": "2025-11"},
    "o4-mini": {"input": "1.10", "output": "4.40", "cached_read": "0.275", "batch": {"factor": "0.5"}, "flex": {"factor": "0.5"}, "priority": {"input": "2", "cached_read": "0.5", "output": "8"}, "per_search": "0.01", "source": "https://platform.openai.com/docs/pricing", "as_of": "2025-11"},
    "o4-mini-deep-research": {"input": "2", "output": "8", "cached_read": "0.50", "batch": {"factor": "0.5"}, "per_search": "0.01", "source": "https://platform.openai.com/docs/pricing", "as_of": "2025-11"},
    "codex-mini-latest": {"input": "1.50", "output": "6", "cached_read": "0.375", "per_search": "0.01", "source": "https://platform.openai.com/docs/pricing", "as_of": "2025-11"},
    "computer-use-preview": {"input": "3", "output": "12", "batch": {"factor": "0.5"}, "per_search": "0.01", "source": "https://platform.openai.com/docs/pricing", "as_of": "2025-11"},
    "gpt-4-turbo": {"input": "10", "output": "30", "batch": {"factor": "0.5"}, "per_search": "0.01", "source": "https://platform.openai.com/docs/pricing", "as_of": "2025-11"},
    "gpt-4": {"input": "30", "output": "60", "batch": {"factor": "0.5"}, "per_search": "0.01", "aliases": ["gpt-4-0613"], "source": "https://platform.openai.com/docs/pricing", "as_of": "2025-11"},
    "gpt-4-32k": {"input": "60", "output": "120", "batch": {"factor": "0.5"}, "per_search": "0.01", "source": "https://platform.openai.com/docs/pricing", "as_of": "2025-11"},
    "gpt-3.5-turbo": {"input": "0.50", "output": "1.50", "batch": {"factor": "0.5"}, "per_search": "0.01", "aliases": ["gpt-3.5-turbo-0125"], "source": "https://platform.openai.com/docs/pricing", "as_of": "2025-11"},
    "gpt-3.5-turbo-instruct": {"input": "1.50", "output": "2", "per_search": "0.01", "source": "https://platform.openai.com/docs/pricing", "as_of": "2025-11"},
    "davinci-002": {"input": "2", "output": "2", "batch": {"factor": "0.5"}, "per_search": "0.01", "source": "https://platform.openai.com/docs/pricing", "as_of": "2025-11"},
    "babbage-002": {"input": "0.40", "output": "0.40", "batch": {"factor": "0.5"}, "per_search": "0.01", "source": "https://platform.openai.com/docs/pricing", "as_of": "2025-11"},
    "gpt-realtime": {"input": "4", "output": "16", "cached_read": "0.40", "audio_in": "32", "audio_out": "64", "image_in": "5", "source": "https://platform.openai.com/docs/pricing", "as_of": "2025-11"},
    "gpt-realtime-mini": {"input": "0.60", "output": "2.40", "cached_read": "0.06", "audio_in": "10", "audio_out": "20", "image_in": "0.80", "source": "https://platform.openai.com/docs/pricing", "as_of": "2025-11"},
    "gpt-4o-realtime-preview": {"input": "5", "output": "20", "cached_read": "2.50", "audio_in": "40", "audio_out": "80", "source": "https://platform.openai.com/docs/pricing", "as_of": "2025-11"},
    "gpt-4o-mini-realtime-preview": {"input": "0.60", "output": "2.40", "cached_read": "0.30", "audio_in": "10", "audio_out": "20", "source": "https://platform.openai.com/docs/pricing", "as_of": "2025-11"},
    "gpt-audio": {"input": "2.50", "output": "10", "audio_in": "32", "audio_out": "64", "source": "https://platform.openai.com/docs/pricing", "as_of": "2025-11"},
    "gpt-audio-mini": {"input": "0.60", "output": "2.40", "audio_in": "10", "audio_out": "20", "source": "https://platform.openai.com/docs/pricing", "as_of": "2025-11"},
    "gpt-4o-audio-preview": {"input": "2.50", "output": "10", "audio_in": "40", "audio_out": "80", "source": "https://platform.openai.com/docs/pricing", "as_of": "2025-11"},
    "gpt-4o-mini-audio-preview": {"input": "0.15", "output": "0.60", "audio_in": "10", "audio_out": "20", "source": "https://platform.openai.com/docs/pricing", "as_of": "2025-11"},
    "gpt-4o-transcribe": {"input": "2.50", "output": "10", "audio_in": "6", "aliases": ["gpt-4o-transcribe-diarize"], "source": "https://platform.openai.com/docs/pricing", "as_of": "2025-11"},
    "gpt-4o-mini-transcribe": {"input": "1.25", "output": "5", "audio_in": "3", "source": "https://platform.openai.com/docs/pricing", "as_of": "2025-11"},
    "gpt-4o-mini-tts": {"input": "0.60", "output": "12", "audio_out": "12", "source": "https://platform.openai.com/docs/pricing", "as_of": "2025-11"},
    "sora-2": {"per_second": "0.10", "source": "https://developers.openai.com/api/docs/models/sora-2", "as_of": "2026-09"},
    "sora-2-pro@720x1280": {"per_second": "0.30", "source": "https://developers.openai.com/api/docs/models/sora-2", "as_of": "2026-09"},
    "sora-2-pro@1280x720": {"per_second": "0.30", "source": "https://developers.openai.com/api/docs/models/sora-2", "as_of": "2026-09"},
    "sora-2-pro@1792x1024": {"per_second": "0.50", "source": "https://platform.openai.com/docs/pricing", "as_of": "2025-11"},
    "sora-2-pro@1024x1792": {"per_second": "0.50", "source": "https://platform.openai.com/docs/pricing", "as_of": "2025-11"},
    "whisper-1": {"per_second": "0.0001", "source": "https://platform.openai.com/docs/pricing", "as_of": "2025-11"},
    "tts-1": {"per_character": "0.000015", "source": "https://platform.openai.com/docs/pricing", "as_of": "2025-11"},
    "tts-1-hd": {"per_character": "0.00003", "source": "https://platform.openai.com/docs/pricing", "as_of": "2025-11"},
    "text-embedding-3-small": {"input": "0.02", "batch": {"factor": "0.5"}, "source": "https://platform.openai.com/docs/pricing", "as_of": "2025-11"},
    "text-embedding-3-large": {"input": "0.13", "batch": {"factor": "0.5"}, "source": "https://platform.openai.com/docs/pricing", "as_of": "2025-11"},
    "text-embedding-ada-002": {"input": "0.10", "batch": {"factor": "0.5"}, "source": "https://platform.openai.com/docs/pricing", "as_of": "2025-11"},
    "gpt-image-1": {"input": "5", "output": "40", "cached_read": "1.25", "image_in": "10", "image_out": "40", "source": "https://platform.openai.com/docs/pricing", "as_of": "2025-11"},
    "gpt-image-1-mini": {"input": "2", "output": "8", "cached_read": "0.20", "image_in": "2.50", "image_out": "8", "source": "https://platform.openai.com/docs/pricing", "as_of": "2025-11"},
    "claude-opus-4-5": {"input": "5", "output": "25", "cache_write_5m": "6.25", "cache_write_1h": "10", "cached_read": "0.50", "batch": {"factor": "0.5"}, "per_search": "0.01", "source": "https://docs.claude.com/en/docs/about-claude/pricing", "as_of": "2025-11"},
    "claude-opus-4-1": {"input": "15", "output": "75", "cache_write_5m": "18.75", "cache_write_1h": "30", "cached_read": "1.50", "batch": {"factor": "0.5"}, "per_search": "0.01", "source": "https://docs.claude.com/en/docs/about-claude/pricing", "as_of": "2025-11"},
    "claude-opus-4": {"input": "15", "output": "75", "cache_write_5m": "18.75", "cache_write_1h": "30", "cached_read": "1.50", "batch": {"factor": "0.5"}, "per_search": "0.01", "aliases": ["claude-opus-4-0"], "source": "https://docs.claude.com/en/docs/about-claude/pricing", "as_of": "2025-11"},
    "claude-sonnet-4-5": {"input": "3", "output": "15", "cache_write_5m": "3.75", "cache_write_1h": "6", "cached_read": "0.30", "batch": {"factor": "0.5"}, "per_search": "0.01", "long_context": {"above": 200000, "input": "6", "output": "22.50", "cache_write_5m": "7.50", "cache_write_1h": "12", "cached_read": "0.60"}, "source": "https://docs.claude.com/en/docs/about-claude/pricing", "as_of": "2025-11"},
    "claude-sonnet-4": {"input": "3", "output": "15", "cache_write_5m": "3.75", "cache_write_1h": "6", "cached_read": "0.30", "batch": {"factor": "0.5"}, "per_search": "0.01", "long_context": {"above": 200000, "input": "6", "output": "22.50", "cache_write_5m": "7.50", "cache_write_1h": "12", "cached_read": "0.60"}, "aliases": ["claude-sonnet-4-0"], "source": "https://docs.claude.com/en/docs/about-claude/pricing", "as_of": "2025-11"},
    "claude-3-7-sonnet": {"input": "3", "output": "15", "cache_write_5m": "3.75", "cache_write_1h": "6", "cached_read": "0.30", "batch": {"factor": "0.5"}, "per_search": "0.01", "source": "https://docs.claude.com/en/docs/about-claude/pricing", "as_of": "2025-11"},
    "claude-3-5-sonnet": {"input": "3", "output": "15", "cache_write_5m": "3.75", "cache_write_1h": "6", "cached_read": "0.30", "batch": {"factor": "0.5"}, "per_search": "0.01", "source": "https://docs.claude.com/en/docs/about-claude/pricing", "as_of": "2025-11"},
    "claude-haiku-4-5": {"input": "1", "output": "5", "cache_write_5m": "1.25", "cache_write_1h": "2", "cached_read": "0.10", "batch": {"factor": "0.5"}, "per_search": "0.01", "source": "https://docs.claude.com/en/docs/about-claude/pricing", "as_of": "2025-11"},
    "claude-3-5-haiku": {"input": "0.80", "output": "4", "cache_write_5m": "1", "cache_write_1h": "1.60", "cached_read": "0.08", "batch": {"factor": "0.5"}, "per_search": "0.01", "source": "https://docs.claude.com/en/docs/about-claude/pricing", "as_of": "2025-11"},
    "claude-3-opus": {"input": "15", "output": "75", "cache_write_5m": "18.75", "cache_write_1h": "30", "cached_read": "1.50", "batch": {"factor": "0.5"}, "per_search": "0.01", "source": "https://docs.claude.com/en/docs/about-claude/pricing", "as_of": "2025-11"},
    "claude-3-haiku": {"input": "0.25", "output": "1.25", "cache_write_5m": "0.30", "cache_write_1h": "0.50", "cached_read": "0.03", "batch": {"factor": "0.5"}, "per_search": "0.01", "source": "https://docs.claude.com/en/docs/about-claude/pricing", "as_of": "2025-11"},
    "gemini-3-pro-preview": {"batch": {"factor": "0.5"}, "input": "2", "output": "12", "cached_read": "0.20", "long_context": {"above": 200000, "input": "4", "output": "18", "cached_read": "0.40"}, "source": "https://ai.google.dev/gemini-api/docs/pricing", "as_of": "2025-11"},
    "gemini-2.5-pro": {"batch": {"factor": "0.5"}, "input": "1.25", "output": "10", "cached_read": "0.125", "long_context": {"above": 200000, "input": "2.50", "output": "15", "cached_read": "0.25"}, "source": "https://ai.google.dev/gemini-api/docs/pricing", "as_of": "2025-11"},
    "gemini-2.5-flash": {"batch": {"factor": "0.5"}, "input": "0.30", "output": "2.50", "cached_read": "0.03", "audio_in": "1", "source": "https://ai.google.dev/gemini-api/docs/pricing", "as_of": "2025-11"},
    "gemini-2.5-flash-lite": {"batch": {"factor": "0.5"}, "input": "0.10", "output": "0.40", "cached_read": "0.01", "audio_in": "0.30", "source": "https://ai.google.dev/gemini-api/docs/pricing", "as_of": "2025-11"},
    "gemini-2.5-flash-image": {"batch": {"factor": "0.5"}, "input": "0.30", "output": "2.50", "image_out": "30", "source": "https://ai.google.dev/gemini-api/docs/pricing", "as_of": "2025-11"},
    "gemini-2.0-flash": {"batch": {"factor": "0.5"}, "input": "0.10", "output": "0.40", "cached_read": "0.025", "audio_in": "0.70", "aliases": ["gemini-2.0-flash-001"], "source": "https://ai.google.dev/gemini-api/docs/pricing", "as_of": "2025-11"},
    "gemini-2.0-flash-lite": {"batch": {"factor": "0.5"}, "input": "0.075", "output": "0.30", "aliases": ["gemini-2.0-flash-lite-001"], "source": "https://ai.google.dev/gemini-api/docs/pricing", "as_of": "2025-11"},
    "gemini-1.5-pro": {"batch": {"factor": "0.5"}, "input": "1.25", "output": "5", "cached_read": "0.3125", "long_context": {"above": 128000, "input": "2.50", "output": "10", "cached_read": "0.625"}, "source": "https://ai.google.dev/gemini-api/docs/pricing", "as_of": "2025-08"},
    "gemini-1.5-flash": {"batch": {"factor": "0.5"}, "input": "0.075", "output": "0.30", "cached_read": "0.01875", "long_context": {"above": 128000, "input": "0.15", "output": "0.60", "cached_read": "0.0375"}, "source": "https://ai.google.dev/gemini-api/docs/pricing", "as_of": "2025-08"},
    "gemini-embedding-001": {"batch": {"factor": "0.5"}, "input": "0.15", "source": "https://ai.google.dev/gemini-api/docs/pricing", "as_of": "2025-11"}
  }
})prices";
    // clang-format on
}

}  // namespace kw::usage
