// Which kind of call a method and path are: the family for records and metrics, the dialect of the
// answer, where the model's name is, whether it costs tokens.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace kw::usage {

enum class dialect : std::uint8_t { openai, anthropic, gemini };
enum class model_place : std::uint8_t {
    none,
    json,       // top-level `model` of the JSON body
    multipart,  // part named `model`; a JSON body is accepted there too (by its content type)
    path,       // in the path: endpoint::model
    query,      // query parameter `model` (realtime)
};

struct endpoint {
    // "chat", "completions", "responses", "embeddings", "images", "audio_speech",
    // "audio_transcriptions", "audio_translations", "moderations", "realtime", "videos", "files",
    // "uploads", "batches", "models", "messages", "gemini", "assistants", …, "other".
    std::string_view family = "other";
    usage::dialect dialect = usage::dialect::openai;
    model_place model_in = model_place::none;
    bool billable = false;      // a call that a provider counts in tokens, seconds, images, …
    bool chat_stream = false;   // takes stream_options.include_usage
    bool body_streams = false;  // body is passed through unkept: files, upload parts
    bool lists_models = false;  // GET /models
};

// path: without query, starting with '/', with or without a base such as "/v1"; percent-escapes
// as they came. Never fails: what is not known is "other" and passes through.
[[nodiscard]] endpoint classify(std::string_view method, std::string_view path) noexcept;

// The model in the path of a `path` endpoint ("/v1/models/{model}", "/v1beta/models/{model}:verb"),
// percent-decoded; "" when there is none.
[[nodiscard]] std::string model_in_path(std::string_view path);
// The path with that model replaced (percent-encoded where needed).
[[nodiscard]] std::string replace_model_in_path(std::string_view path, std::string_view model);

}  // namespace kw::usage
