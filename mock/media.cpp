// Embeddings, images, audio and the list of models.
#include <algorithm>
#include <cstring>
#include <vector>

#include "core/base64.hpp"
#include "core/json_writer.hpp"
#include "mock/answers.hpp"

namespace kw::mock {
namespace {

std::string image_usage(const token_count& t) {
    return "{\"total_tokens\":" + std::to_string(t.input + t.output) +
           ",\"input_tokens\":" + std::to_string(t.input) +
           ",\"output_tokens\":" + std::to_string(t.output) +
           ",\"input_tokens_details\":{\"text_tokens\":" + std::to_string(t.input) +
           ",\"image_tokens\":0}"
           ",\"output_tokens_details\":{\"text_tokens\":0,\"image_tokens\":" +
           std::to_string(t.output) + "}}";
}

std::string token_usage(const token_count& t) {
    return "{\"type\":\"tokens\",\"input_tokens\":" + std::to_string(t.input) +
           ",\"input_token_details\":{\"text_tokens\":0,\"audio_tokens\":" +
           std::to_string(t.input) + "},\"output_tokens\":" + std::to_string(t.output) +
           ",\"total_tokens\":" + std::to_string(t.input + t.output) + "}";
}

std::uint64_t file_bytes(const request& r) {
    const form_part* file = r.form ? r.form->first_file() : nullptr;
    return file ? file->bytes : r.body_bytes;
}

// The smallest picture there is: a PNG of one transparent pixel.
constexpr std::string_view pixel =
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg"
    "==";

std::size_t count_of_array(std::string_view raw) {
    // Strings, or arrays of numbers, or one array of numbers: elements at depth one.
    if (!raw.starts_with('[')) return 1;
    std::size_t n = 1;
    int depth = 0;
    bool numbers = true;
    bool quoted = false;
    for (std::size_t i = 0; i < raw.size(); ++i) {
        const char c = raw[i];
        if (quoted) {
            if (c == '\\') {
                ++i;
            } else if (c == '"') {
                quoted = false;
            }
            continue;
        }
        if (c == '"') {
            quoted = true;
            numbers = false;
        } else if (c == '[') {
            if (depth++ > 0) numbers = false;
        } else if (c == ']') {
            --depth;
        } else if (c == ',' && depth == 1) {
            ++n;
        }
    }
    return numbers ? 1 : n;
}

}  // namespace

net::task<void> embeddings(exchange& x) {
    const auto inputs = std::min<std::size_t>(2048, count_of_array(x.in.json.raw("input")));
    const auto dimensions = static_cast<std::size_t>(
        std::clamp<std::int64_t>(x.in.json.number("dimensions", 64), 1, 4096));
    const bool base64 = x.in.json.text("encoding_format") == "base64";
    token_count used = count_input(x.in);
    used.cached = 0;
    std::string body = "{\"object\":\"list\",\"data\":[";
    for (std::size_t i = 0; i < inputs; ++i) {
        if (i > 0) body += ',';
        body += "{\"object\":\"embedding\",\"index\":" + std::to_string(i) + ",\"embedding\":";
        // Multiples of 1/256 are exact in both notations.
        std::vector<float> vector(dimensions);
        for (std::size_t d = 0; d < dimensions; ++d) {
            vector[d] = static_cast<float>(static_cast<int>((i * 31 + d * 7) % 256) - 128) / 256.0F;
        }
        if (base64) {
            std::string bytes(dimensions * sizeof(float), '\0');
            std::memcpy(bytes.data(), vector.data(), bytes.size());
            body += '"' + to_base64(bytes) + '"';
        } else {
            json_writer w(body);
            w.begin_array();
            for (const float f : vector)
                w.value(static_cast<double>(f));
            w.end_array();
        }
        body += '}';
    }
    body += "],\"model\":" + json_text(x.record.model);
    if (!x.faults.no_usage) {
        body += ",\"usage\":{\"prompt_tokens\":" + std::to_string(used.input) +
                ",\"total_tokens\":" + std::to_string(used.input) + "}";
    }
    co_await x.json(body + "}", used);
}

net::task<void> images(exchange& x) {
    const bool edit = x.in.path.ends_with("/edits") || x.in.path.ends_with("/variations");
    const std::string family = edit ? "image_edit" : "image_generation";
    const bool streamed = x.in.field("stream") == "true";
    token_count used = count_input(x.in);
    used.cached = 0;
    if (streamed) {
        const auto frame = [](std::string_view type, const std::string& rest) {
            std::string out = "event: ";
            out.append(type).append("\ndata: {\"type\":\"").append(type);
            return out.append("\",\"b64_json\":\"").append(pixel).append("\"").append(rest) +
                   "}\n\n";
        };
        stream_script s;
        s.tokens = 2;
        s.token = [family, frame](std::string& out, std::size_t i) {
            out +=
                frame(family + ".partial_image", ",\"partial_image_index\":" + std::to_string(i));
        };
        token_count bill = used;
        bill.output = 2;
        s.done = frame(family + ".completed",
                       ",\"created_at\":" + std::string(created_at) +
                           (x.faults.no_usage ? "" : ",\"usage\":" + image_usage(bill)));
        s.broken = "data: {\"type\":\n\n";
        s.error = "data: " + error_body(x.in.path, 500, {}, {}, x.request_id()) + "\n\n";
        co_await x.stream(std::move(s), used);
        co_return;
    }
    used.output = 100;
    std::string body = "{\"created\":" + std::string(created_at) + ",\"data\":[{\"b64_json\":\"" +
                       std::string(pixel) + "\"}]";
    if (!x.faults.no_usage) body += ",\"usage\":" + image_usage(used);
    co_await x.json(body + "}", used);
}

net::task<void> transcriptions(exchange& x) {
    const bool translation = x.in.path.ends_with("/translations");
    token_count input;
    input.input = std::max<std::uint64_t>(1, file_bytes(x.in) / 1000);
    content c = make_content(x);
    const token_count used = c.count(input);
    const auto format = x.in.field("response_format");
    if (x.in.field("stream") == "true") {
        stream_script s;
        s.tokens = c.pieces.size();
        s.done =
            "event: transcript.text.done\ndata: {\"type\":\"transcript.text.done\",\"text\":\"" +
            c.whole + "\"" + (x.faults.no_usage ? "" : ",\"usage\":" + token_usage(used)) + "}\n\n";
        s.broken = "data: {\"type\":\n\n";
        s.error = "data: " + error_body(x.in.path, 500, {}, {}, x.request_id()) + "\n\n";
        s.token = [pieces = c.pieces](std::string& out, std::size_t i) {
            out +=
                "event: transcript.text.delta\ndata: "
                "{\"type\":\"transcript.text.delta\",\"delta\":\"";
            if (i < pieces.size()) out += pieces[i];
            out += "\"}\n\n";
        };
        co_await x.stream(std::move(s), input);
        co_return;
    }
    if (format == "text" || format == "srt" || format == "vtt") {
        co_await x.answer(200, "text/plain; charset=utf-8", c.whole + "\n", used);
        co_return;
    }
    std::string body = "{\"text\":\"" + c.whole + "\"";
    if (format == "verbose_json") {
        body +=
            ",\"task\":\"transcribe\",\"language\":\"english\",\"duration\":12.5,\"segments\":[]";
    }
    // Whisper is billed by time.
    if (!translation && !x.faults.no_usage) {
        const bool whisper = x.record.model.starts_with("whisper");
        body += ",\"usage\":" + (whisper ? std::string("{\"type\":\"duration\",\"seconds\":13}")
                                         : token_usage(used));
    }
    co_await x.json(body + "}", used);
}

net::task<void> speech(exchange& x) {
    token_count used = count_input(x.in);
    used.cached = 0;
    if (x.in.json.text("stream_format") == "sse") {
        stream_script s;
        s.tokens = 16;
        const std::string audio = to_base64(std::string(1024, '\x5A'));
        s.token = [audio](std::string& out, std::size_t) {
            out += "data: {\"type\":\"speech.audio.delta\",\"audio\":\"" + audio + "\"}\n\n";
        };
        token_count bill = used;
        bill.output = 16;
        s.done = "data: {\"type\":\"speech.audio.done\"" +
                 (x.faults.no_usage ? std::string()
                                    : ",\"usage\":{\"input_tokens\":" + std::to_string(bill.input) +
                                          ",\"output_tokens\":16,\"total_tokens\":" +
                                          std::to_string(bill.input + 16) + "}") +
                 "}\n\n";
        s.broken = "data: {\"type\":\n\n";
        s.error = "data: " + error_body(x.in.path, 500, {}, {}, x.request_id()) + "\n\n";
        co_await x.stream(std::move(s), used);
        co_return;
    }
    // Every byte value occurs: what is not clean for eight bits shows.
    std::string audio(65536, '\0');
    for (std::size_t i = 0; i < audio.size(); ++i)
        audio[i] = static_cast<char>((i * 7 + i / 256) & 0xFFU);
    co_await x.answer(200, "audio/mpeg", audio, used);
}

net::task<void> models(exchange& x) {
    const auto one = [](std::string_view id) {
        return "{\"id\":" + json_text(id) +
               ",\"object\":\"model\",\"created\":" + std::string(created_at) +
               ",\"owned_by\":\"mock\"}";
    };
    if (x.in.path.find("/models/") != std::string::npos) {
        if (x.record.model.find("missing") != std::string::npos) {
            co_await x.refuse(404, "model_not_found");
        } else if (x.in.method == "DELETE") {
            co_await x.json("{\"id\":" + json_text(x.record.model) +
                            ",\"object\":\"model\",\"deleted\":true}");
        } else {
            co_await x.json(one(x.record.model));
        }
        co_return;
    }
    std::string body = "{\"object\":\"list\",\"data\":[";
    for (const std::string_view id :
         {"gpt-4o", "gpt-4o-mini", "gpt-reason", "text-embedding-3-small", "whisper-1", "tts-1",
          "gpt-image-1", "mock-large"}) {
        if (body.back() == '}') body += ',';
        body += one(id);
    }
    co_await x.json(body + "]}");
}

}  // namespace kw::mock
