"""`approve`: somebody's signed yes to the deploy of one digest, for a job that can ask nobody."""

from fairlead import _output
from fairlead.tasks._act import act, confirm


@act(
    help={
        "digest": "what is approved: sha256: and 64 digits, as invoke build prints it",
        "env": "the environment it may be deployed to",
        "valid": "how many seconds it holds, at most 86400",
        "reason": "why; it is signed with the rest and recorded",
        "auto-confirm": "say yes to the question",
        "json": "print JSON for a program to read",
    }
)
def approve(
    digest: str,
    env: str = "production",
    valid: int = 3600,
    reason: str = "",
    auto_confirm: bool = False,
    json: bool = False,
) -> None:
    """Sign an approval of a digest with the key in FAIRLEAD_APPROVAL_KEY, and print it as one line."""
    import dataclasses

    from fairlead import approval, build, config
    from fairlead.approval.models import render_moment
    from fairlead.history import Event, History

    loaded = config.load()
    environment = loaded.environment(env)
    facts = build.collect(loaded.root, name=loaded.name, version=loaded.version, environ=loaded.environ)

    def sign() -> approval.SignedApproval:
        return approval.sign(
            environment.name, digest, approver=facts.actor, environ=loaded.environ, valid=valid, reason=reason
        )

    sign()  # What is wrong with the key or the digest is told before anybody is asked.
    if not environment.approval:
        _output.status("note", f"{env} deploys without approval; `approval = true` in its section would ask for one")
    span = _output.duration(valid)
    confirm(f"Approve the deploy of {digest} to {env}, for {span} from now?", auto_confirm=auto_confirm)
    signed = sign()
    given = signed.approval
    History(loaded.state_dir).append(
        Event("approve", "approved", environment=env, digest=digest, actor=given.approver, detail=given.sentence)
    )
    if json:
        _output.result_json({**dataclasses.asdict(given), "token": signed.token, "variable": approval.TOKEN_VARIABLE})
    else:
        _output.result(signed.token)
    _output.status("ok", f"{digest} may be deployed to {env} until {render_moment(given.expires_at or 0)}")
    _output.status(
        "note", f"give that line to the deploying job in {approval.TOKEN_VARIABLE}; it needs the key as well"
    )
    source = environment.promote_from
    command = f"deploy --env {env}" if source is None else f"promote --from {source} --to {env}"
    _output.status("note", f"there: invoke {command} --auto-confirm")
