// The walk from yaml-cpp's nodes to JSON values, bounded against anchors that multiply.
#include "config/yaml_json.hpp"

#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/yaml.h>

#include <boost/json.hpp>
#include <sstream>

namespace kw::config {
namespace {

namespace json = boost::json;

constexpr std::size_t max_nodes = 500'000;
constexpr int max_depth = 32;

struct passed_over final : YAML::EventHandler {
    void OnDocumentStart(const YAML::Mark&) override {}
    void OnDocumentEnd() override {}
    void OnNull(const YAML::Mark&, YAML::anchor_t) override {}
    void OnAlias(const YAML::Mark&, YAML::anchor_t) override {}
    void OnScalar(const YAML::Mark&, const std::string&, YAML::anchor_t,
                  const std::string&) override {}
    void OnSequenceStart(const YAML::Mark&, const std::string&, YAML::anchor_t,
                         YAML::EmitterStyle::value) override {}
    void OnSequenceEnd() override {}
    void OnMapStart(const YAML::Mark&, const std::string&, YAML::anchor_t,
                    YAML::EmitterStyle::value) override {}
    void OnMapEnd() override {}
};

error refused(const char* why) {
    return error(errc::invalid_argument, why);
}

class walker {
  public:
    result<json::value> walk(const YAML::Node& node, int depth) {
        if (depth > max_depth) return refused("it is nested too deeply");
        if (++visited_ > max_nodes) return refused("it holds too many values");
        if (node.IsScalar()) return json::value(json::string(node.Scalar()));
        if (node.IsSequence()) {
            json::array out;
            for (const auto& one : node) {
                auto value = walk(one, depth + 1);
                if (!value) return value.error();
                out.push_back(std::move(*value));
            }
            return json::value(std::move(out));
        }
        if (!node.IsMap()) return json::value(nullptr);
        json::object out;
        for (const auto& pair : node) {
            if (!pair.first.IsScalar()) return refused("it has a key that is no plain text");
            auto value = walk(pair.second, depth + 1);
            if (!value) return value.error();
            if (!out.emplace(pair.first.Scalar(), std::move(*value)).second)
                return refused("it has a key twice");
        }
        return json::value(std::move(out));
    }

  private:
    std::size_t visited_ = 0;
};

}  // namespace

result<json::value> yaml_to_json(const std::string& text) {
    try {
        // Not LoadAll: it goes on for ever over what is left of some malformed documents.
        std::istringstream stream(text);
        YAML::Parser parser(stream);
        passed_over first;
        parser.HandleNextDocument(first);
        if (parser) return refused("it holds more than one document");
        return walker().walk(YAML::Load(text), 0);
    } catch (const YAML::Exception&) {
        return refused("it is not valid YAML");
    }
}

}  // namespace kw::config
