"""The forms of tokens that their vendors made to be recognised: each begins with signs of its own.

A table of ours, since no package on the index is at once maintained, small, pure Python and of rules that can be
taken as data (the usual tables are written for engines that run in linear time, which `re` does not). Where each
form is told stands beside it; "gitleaks" is that project's default configuration, where the vendor tells none.

A pattern begins with one of its `heads` and has one group: what was drawn at random, which is judged. Lengths are
least ones, below what is issued today, so that a token of which an output shows but a part goes too. Whatever the
text, a pattern goes over a word a few times at most: none repeats what itself repeats. So that it is found at all,
a form must begin with nineteen signs of a word (finding.py), or have a `before`.
"""

import base64
from typing import NamedTuple


class Form(NamedTuple):
    kind: str
    heads: tuple[str, ...]
    """How it begins: three signs at least, none of them a full stop."""
    pattern: str
    source: str
    before: str = ""
    """Where the long part comes after a full stop or the like, and a short one first: the pattern of that one."""


_HEX = "0123456789abcdef"
_NO_MORE = r"(?![A-Za-z0-9])"

FORMS: tuple[Form, ...] = (
    # Ours: 22 signs of the user's tag, which is no secret, then what was drawn (auth/opaque.py).
    Form("backscroll-token", ("bks_",), r"bks_[A-Za-z0-9_-]{22}([A-Za-z0-9_-]{20,})", "auth/opaque.py"),
    # Clouds
    Form(
        "aws-access-key", ("AKIA", "ASIA", "ABIA", "ACCA"), rf"A(?:KIA|SIA|BIA|CCA)([A-Z2-7]{{16}}){_NO_MORE}",
        "AWS IAM User Guide, IAM identifiers: unique identifiers",
    ),
    # In base64 the name of a field, `origin_ec`, and the field's length.
    Form(
        "aws-session-token", ("IQoJb3JpZ2lu",), r"IQoJb3JpZ2lu([A-Za-z0-9+/=%_-]{60,4096})",
        "AWS STS API reference, GetSessionToken: examples",
    ),
    Form(
        "aws-bedrock-key", ("ABSK",), r"ABSK(QmVkcm9ja0FQSUtleS[A-Za-z0-9+/]{60,}={0,2})",
        "AWS Bedrock User Guide, API keys; gitleaks aws-amazon-bedrock-api-key-long-lived",
    ),
    Form(
        "aws-bedrock-key", ("bedrock-api-key-",), r"bedrock-api-key-(YmVkcm9jay5[A-Za-z0-9+/%]{40,}={0,2})",
        "AWS Bedrock User Guide, API keys: short-term",
    ),
    Form("gcp-api-key", ("AIza",), r"AIza([A-Za-z0-9_-]{30,})", "Google Cloud, Authenticate by using API keys"),
    Form(
        "gcp-oauth-secret", ("GOCSPX-",), r"GOCSPX-([A-Za-z0-9_-]{20,})",
        "Google Identity, OAuth 2.0 client credentials",
    ),
    Form(
        "gcp-oauth-token", (), r"ya29(?:\.[a-z])?\.([A-Za-z0-9_-]{20,})",
        "Google Identity, Using OAuth 2.0: token format", before=r"ya29(?:\.[a-z])?\.",
    ),
    Form(
        "gcp-refresh-token", (), r"1//0([A-Za-z0-9_-]{40,})", "Google Identity, Using OAuth 2.0: refresh tokens",
        before="1//",
    ),
    Form(
        "alibaba-access-key", ("LTAI",), rf"LTAI([A-Za-z0-9]{{16,26}}){_NO_MORE}",
        "Alibaba Cloud RAM, AccessKey pairs; gitleaks alibaba-access-key-id",
    ),
    Form(
        "digitalocean-token", ("dop_v1_", "doo_v1_", "dor_v1_"), r"do[opr]_v1_([0-9a-f]{32,})",
        "DigitalOcean API reference: token prefixes",
    ),
    Form("heroku-token", ("HRKU-",), r"HRKU-([A-Za-z0-9_-]{30,})", "Heroku Dev Center: prefixed OAuth tokens"),
    Form(
        "flyio-token", ("fo1_", "fm1a_", "fm1r_", "fm2_"),
        r"f(?:o1|m1[ar]|m2)_([A-Za-z0-9_-]{16}[A-Za-z0-9+/_-]{24,}={0,3})",
        "Fly.io, Access tokens; gitleaks flyio-access-token",
    ),
    Form("databricks-token", ("dapi",), rf"dapi([0-9a-f]{{32}}){_NO_MORE}", "Databricks, Personal access tokens"),
    Form("netlify-token", ("nfp_",), r"nfp_([A-Za-z0-9]{30,})", "Netlify API, personal access tokens"),
    Form("supabase-key", ("sbp_",), r"sbp_([0-9a-f]{30,})", "Supabase Management API: access tokens"),
    Form("supabase-key", ("sb_secret_",), r"sb_secret_([A-Za-z0-9_-]{20,})", "Supabase, Understanding API keys"),
    Form(
        "planetscale-token", ("pscale_",),
        r"pscale_(?:tkn|oauth|pw)_([A-Za-z0-9_-]{12}[A-Za-z0-9_.=-]{19,}[A-Za-z0-9_=-])",
        "PlanetScale, Service tokens; gitleaks planetscale-*",
    ),
    # Code and packages
    Form(
        "github-token", ("ghp_", "gho_", "ghu_", "ghs_", "ghr_"), r"gh[opsur]_([A-Za-z0-9_]{20,})",
        "GitHub Docs, About authentication: token formats",
    ),
    Form(
        "github-token", ("github_pat_",), r"github_pat_([A-Za-z0-9_]{22,})",
        "GitHub Docs, About authentication: token formats",
    ),
    Form(
        "gitlab-token",
        ("glpat-", "gloas-", "gldt-", "glrt-", "glrtr-", "glcbt-", "glptt-", "glft-", "glimt-", "glagent-", "glwt-",
         "glsoat-", "glffct-"),
        r"gl(?:pat|oas|dt|rtr?|cbt|ptt|ft|imt|agent|wt|soat|ffct)-([A-Za-z0-9_-]{20,}(?:\.[0-9a-z]{2}\.?[0-9a-z]{7,9})?)",
        "GitLab Docs, Token overview: token prefixes",
    ),
    Form("npm-token", ("npm_",), rf"npm_([A-Za-z0-9]{{30,36}}){_NO_MORE}", "npm Docs, About access tokens"),
    Form("pypi-token", ("pypi-",), r"pypi-(AgE[A-Za-z0-9_-]{40,})", "PyPI Help, API tokens (macaroons)"),
    Form("rubygems-token", ("rubygems_",), r"rubygems_([0-9a-f]{40,})", "RubyGems Guides, API key scopes"),
    Form("crates-token", ("cio",), rf"cio([A-Za-z0-9]{{32}}){_NO_MORE}", "crates.io, token format (RFC 2947)"),
    Form("nuget-key", ("oy2",), rf"oy2([a-z0-9]{{43}}){_NO_MORE}", "NuGet, API keys; GitHub secret scanning patterns"),
    Form("docker-token", ("dckr_pat_", "dckr_oat_"), r"dckr_[po]at_([A-Za-z0-9_-]{20,})", "Docker Docs, Access tokens"),
    Form("artifactory-key", ("AKCp",), rf"AKCp([A-Za-z0-9]{{60,}}){_NO_MORE}", "gitleaks artifactory-api-key"),
    Form(
        "artifactory-token", ("cmVmd",), rf"cmVmdGtuO([A-Za-z0-9]{{50,}}){_NO_MORE}",
        "JFrog, Reference tokens; gitleaks artifactory-reference-token",
    ),
    Form("sonar-token", ("sqp_", "sqa_", "squ_"), rf"sq[pau]_([0-9a-f]{{40}}){_NO_MORE}", "SonarQube, Managing tokens"),
    Form("sourcegraph-token", ("sgp_",), r"sgp_(?:[0-9a-f]{16}_|local_)?([0-9a-f]{40})", "gitleaks sourcegraph-*"),
    Form(
        "circleci-token", ("CCIPAT_", "CCIPRJ_"), r"CCIP(?:AT|RJ)_([A-Za-z0-9]{16,}_[0-9a-f]{40})",
        "CircleCI, Managing API tokens",
    ),
    Form("buildkite-token", ("bkua_",), r"bkua_([0-9a-f]{40})", "Buildkite, API access tokens"),
    # Models
    Form(
        "anthropic-key", ("sk-ant-",), r"sk-ant-(?:[a-z]{2,8}[0-9]{2}-)?([A-Za-z0-9_-]{20,})",
        "Anthropic API, getting started; gitleaks anthropic-*",
    ),
    Form(
        "openai-key", ("sk-proj-", "sk-svcacct-", "sk-admin-", "sk-None-"),
        r"sk-(?:proj|svcacct|admin|None)-([A-Za-z0-9_-]{20,})", "OpenAI API reference; gitleaks openai-api-key",
    ),
    Form("openai-key", ("sk-",), r"sk-([A-Za-z0-9]{10,}T3BlbkFJ[A-Za-z0-9]{10,})", "gitleaks openai-api-key"),
    Form("openrouter-key", ("sk-or-",), r"sk-or-v1-([0-9a-f]{30,})", "OpenRouter, API authentication"),
    Form("langfuse-key", ("sk-lf-",), r"sk-lf-([0-9a-f-]{36})", "Langfuse, API keys"),
    # DeepSeek, Moonshot, LiteLLM and many others took the form over.
    Form("api-key", ("sk-",), rf"sk-([A-Za-z0-9]{{30,}}){_NO_MORE}", "OpenAI's first form, used by many"),
    Form("groq-key", ("gsk_",), r"gsk_([A-Za-z0-9]{30,})", "Groq, API keys; GitHub secret scanning patterns"),
    Form("xai-key", ("xai-",), r"xai-([A-Za-z0-9]{40,})", "xAI API; GitHub secret scanning patterns"),
    Form("perplexity-key", ("pplx-",), r"pplx-([A-Za-z0-9]{30,})", "Perplexity API; gitleaks perplexity-api-key"),
    Form("huggingface-token", ("hf_",), rf"hf_([A-Za-z0-9]{{30,}}){_NO_MORE}", "Hugging Face, User access tokens"),
    Form("huggingface-token", ("api_org_",), r"api_org_([A-Za-z0-9]{30,})", "gitleaks huggingface-organization-*"),
    Form("replicate-token", ("r8_",), rf"r8_([A-Za-z0-9]{{37}}){_NO_MORE}", "Replicate, API tokens"),
    Form("nvidia-key", ("nvapi-",), r"nvapi-([A-Za-z0-9_-]{40,})", "NVIDIA NGC, API keys"),
    Form("langsmith-key", ("lsv2_",), r"lsv2_(?:pt|sk)_([0-9a-f]{32}_[0-9a-f]{6,})", "LangSmith, API keys"),
    Form("tavily-key", ("tvly-",), r"tvly-(?:dev-|prod-)?([A-Za-z0-9]{20,})", "Tavily API reference"),
    # Payment and messages
    Form(
        "stripe-key", ("sk_", "rk_"), r"[sr]k_(?:live|test|prod)_([A-Za-z0-9]{16,})", "Stripe, API keys",
    ),
    Form(
        "stripe-webhook-secret", ("whsec_",), r"whsec_([A-Za-z0-9]{14}[A-Za-z0-9+/]{10,}={0,2})",
        "Stripe, Webhooks: signatures",
    ),
    Form("elevenlabs-key", ("sk_",), rf"sk_([0-9a-f]{{48}}){_NO_MORE}", "ElevenLabs API; GitHub secret scanning"),
    Form(
        "square-token", ("sq0atp-", "sq0csp-"), r"sq0(?:atp|csp)-([A-Za-z0-9_-]{20,})",
        "Square, Access tokens; gitleaks square-access-token",
    ),
    Form("square-token", ("EAAA",), rf"EAAA([A-Za-z0-9_-]{{56,60}}){_NO_MORE}", "Square, Access tokens"),
    Form(
        "slack-token", ("xoxa-", "xoxb-", "xoxe-", "xoxo-", "xoxp-", "xoxr-", "xoxs-", "xoxc-", "xoxd-"),
        r"xox[abcdeoprs]-([A-Za-z0-9-]{15}[A-Za-z0-9%-]*)", "Slack, Token types",
    ),
    Form("slack-token", ("xapp-",), r"xapp-\d-([A-Za-z0-9-]{20,})", "Slack, Token types: app-level"),
    Form(
        "sendgrid-key", (), r"SG\.([A-Za-z0-9_-]{20,24}\.[A-Za-z0-9_-]{20,})", "SendGrid, API keys", before=r"SG\.",
    ),
    Form("mailgun-key", ("key-",), rf"key-([0-9a-f]{{32}}){_NO_MORE}", "Mailgun, API keys; gitleaks mailgun-*"),
    Form("brevo-key", ("xkeysib-",), r"xkeysib-([0-9a-f]{64}-[A-Za-z0-9]{8,})", "Brevo; gitleaks sendinblue-api-token"),
    Form("resend-key", ("re_",), rf"re_([A-Za-z0-9]{{8}}_[A-Za-z0-9]{{20,}}){_NO_MORE}", "Resend, API keys"),
    Form(
        "twilio-key", tuple(f"SK{sign}" for sign in _HEX), rf"SK([0-9a-f]{{32}}){_NO_MORE}",
        "Twilio, API keys; gitleaks twilio-api-key",
    ),
    Form(
        "telegram-token", (), rf"\d{{8,10}}:(AA[A-Za-z0-9_-]{{33}}){_NO_MORE}",
        "Telegram Bot API, Authorizing your bot",
        before=r"\d{8,10}:",
    ),
    # A bot's id comes first, in figures, which base64 spells in few ways.
    Form(
        "discord-token",
        tuple(sorted({base64.b64encode(f"{n}0".encode()).decode()[:3] for n in range(100, 1000)})),
        r"([A-Za-z0-9]{23,28}\.[A-Za-z0-9_-]{6}\.[A-Za-z0-9_-]{27,38})",
        "Discord developer docs, Authentication: bot tokens; GitHub secret scanning patterns",
    ),
    # Tools
    Form(
        "vault-token", (), r"hv[sbr]\.([A-Za-z0-9_-]{24,})", "HashiCorp Vault, Tokens: prefixes", before=r"hv[sbr]\.",
    ),
    Form(
        "terraform-token", (), r"[A-Za-z0-9]{14}\.atlasv1\.([A-Za-z0-9_-]{40,}=*)",
        "HashiCorp Terraform, API tokens; gitleaks hashicorp-tf-api-token", before=r"[A-Za-z0-9]{14}\.atlasv1\.",
    ),
    Form(
        "doppler-token", (), r"dp\.(?:pt|st|ct|sa|scim|audit)(?:\.[a-z0-9_-]{2,30})?\.([A-Za-z0-9]{40,44})",
        "Doppler, Auth token formats", before=r"dp\.(?:pt|st|ct|sa|scim|audit)(?:\.[a-z0-9_-]{2,30})?\.",
    ),
    Form("pulumi-token", ("pul-",), rf"pul-([0-9a-f]{{40}}){_NO_MORE}", "Pulumi, Access tokens"),
    Form("prefect-key", ("pnu_", "pnb_"), r"pn[ub]_([A-Za-z0-9]{36})", "Prefect, API keys; gitleaks prefect-api-token"),
    Form(
        "atlassian-token", ("ATATT3", "ATCTT3", "ATSTT3"), r"AT[ACS]TT3([A-Za-z0-9_-]{14}[A-Za-z0-9_=-]{40,})",
        "Atlassian, API tokens; GitHub secret scanning patterns",
    ),
    Form("bitbucket-token", ("ATBB",), rf"ATBB([A-Za-z0-9]{{32}}){_NO_MORE}", "Atlassian, App passwords"),
    Form("linear-key", ("lin_api_", "lin_oauth_"), r"lin_(?:api|oauth)_([A-Za-z0-9]{30,})", "Linear, API keys"),
    Form("notion-token", ("ntn_",), r"ntn_([A-Za-z0-9]{36,})", "Notion API, Authorization: token prefixes"),
    Form("notion-token", ("secret_",), rf"secret_([A-Za-z0-9]{{43}}){_NO_MORE}", "Notion API, earlier token prefix"),
    Form(
        "airtable-token", (), r"pat[A-Za-z0-9]{14}\.([0-9a-f]{64})", "Airtable, Personal access tokens",
        before=r"pat[A-Za-z0-9]{14}\.",
    ),
    Form("figma-token", ("figd_", "figo_"), r"fig[do]_([A-Za-z0-9_-]{30,})", "Figma, Personal access tokens"),
    Form("postman-key", ("PMAK-",), r"PMAK-([0-9a-f]{24}-[0-9a-f]{20,})", "Postman, API keys"),
    Form("grafana-token", ("glsa_",), r"glsa_([A-Za-z0-9]{32}_[0-9A-Fa-f]{8})", "Grafana, Service account tokens"),
    Form("grafana-token", ("glc_",), r"glc_(eyJ[A-Za-z0-9+/]{30,}={0,3})", "Grafana Cloud, Access policy tokens"),
    Form("sentry-token", ("sntrys_",), r"sntrys_(eyJ[A-Za-z0-9+/=_]{40,})", "Sentry, Auth tokens: prefixes (RFC 91)"),
    Form("sentry-token", ("sntryu_",), r"sntryu_([0-9a-f]{40,})", "Sentry, Auth tokens: prefixes (RFC 91)"),
    Form("newrelic-key", ("NRAK-",), r"NRAK-([A-Z0-9]{20,})", "New Relic, API keys"),
    Form(
        "tailscale-key", ("tskey-",), r"tskey-(?:[a-z]{3,8}-)?([A-Za-z0-9]{6,40}-?[A-Za-z0-9]{12,})",
        "Tailscale, Key prefixes",
    ),
    Form(
        "dynatrace-token", (), r"dt0[a-z]\d{2}\.([A-Z0-9]{24}\.[A-Z0-9]{40,})", "Dynatrace, Access tokens: format",
        before=r"dt0[a-z]\d{2}\.",
    ),
    Form("1password-token", ("ops_eyJ",), r"ops_(eyJ[A-Za-z0-9+/_-]{60,}={0,3})", "1Password, Service accounts"),
    Form("age-key", ("AGE",), r"AGE-SECRET-KEY-1([0-9A-Z]{50,58})", "age, specification: X25519 identities"),
    Form("easypost-key", ("EZAK", "EZTK"), rf"EZ[AT]K([A-Za-z0-9]{{54}}){_NO_MORE}", "gitleaks easypost-*"),
    Form("shippo-key", ("shippo_",), r"shippo_(?:live|test)_([0-9a-f]{40})", "gitleaks shippo-api-token"),
    Form(
        "shopify-token", ("shpat_", "shpca_", "shppa_", "shpss_", "shpua_"),
        r"shp(?:at|ca|pa|ss|ua)_([0-9a-fA-F]{30,})",
        "Shopify, About access tokens; gitleaks shopify-*",
    ),
    Form("octopus-key", ("API-",), rf"API-([A-Z0-9]{{26,32}}){_NO_MORE}", "Octopus Deploy, How to create an API key"),
    Form("openshift-token", (), r"sha256~([A-Za-z0-9_-]{43})", "OpenShift, OAuth tokens", before="sha256~"),
)  # fmt: skip
