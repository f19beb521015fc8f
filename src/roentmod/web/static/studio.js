import{a as i,b as d,c as m,d as y,e as u,f as w}from"./shared.js";var R=200,b=class extends m{static properties={number:{state:!0},facts:{state:!0},chosen:{state:!0},cases:{state:!0},at:{state:!0},message:{state:!0}};constructor(){super(),this.number=0,this.facts=this.chosen=null,this.cases=[],this.at=-1,this.message=""}createRenderRoot(){return this}connectedCallback(){super.connectedCallback(),this.load(0)}async attempt(e){this.message="";try{await e()}catch(t){this.message=t.message}}async load(e){await this.attempt(async()=>{this.facts=await u(`/run/${e}`),this.number=e,this.chosen=null,this.cases=[],this.at=-1})}async open(e,t){await this.attempt(async()=>{let s={classifier:e,edited:t.edited,read:t.read};this.cases=await u(`/run/${this.number}/cases`,s),this.chosen=s,this.at=-1})}async show(e){let t=this.chosen?this.cases.length:this.facts?.pictures.length??0;if(e<0||e>=t||(this.at=e,!this.chosen||!this.facts?.shows))return;let{baseline_id:s,pair_id:a}=this.cases[e];await this.attempt(async()=>{let n=await u(`/run/${this.number}/case`,{baseline:s,pair:a});this.dispatchEvent(new CustomEvent("rm-case",{detail:n,bubbles:!0}))})}render(){let{facts:e}=this;return e?i`<h2>${e.name}</h2>
      <p class="quiet">${e.words}</p>
      <p role="status" class="bad">${this.message}</p>
      <div class="row">
        ${this.number>0?i`<button @click=${()=>{this.load(0)}}>Back to the study</button>`:d}
        ${e.report?i`<a class="button" href=${`/run/${this.number}/report`} target="_blank" rel="noopener"
              >Report</a
            >`:d}
        ${e.stages.map((t,s)=>i`<button @click=${()=>{this.load(s+1)}}>${t}</button>`)}
      </div>
      ${e.matrices.map((t,s)=>this.matrix(t.name,t.verdict,t.cells,s))}
      ${this.chosen?this.caseList(e):d}
      ${e.pictures.length?this.pictureList(e):d}
      ${e.tables.map(t=>C(t))}`:i`<p role="status">${this.message||"Reading the run"}</p>`}matrix(e,t,s,a){let n=[...new Set(s.map(r=>r.edited))],o=[...new Set(s.map(r=>r.read))],l=(r,h)=>s.find(p=>p.edited===r&&p.read===h);return i`<section class="matrix">
      <h3>${e}: ${t}</h3>
      <div class="scroll" tabindex="0" role="region" aria-label=${`Effects of ${e}`}>
        <table>
          <caption class=${a?"visually-hidden":"quiet"}>Mean net effect on the logit read (across) of the finding edited (down); \u25b2 shortcut</caption>
          <thead>
            <tr>
              <td></td>
              ${o.map(r=>i`<th scope="col"><span>${r}</span></th>`)}
            </tr>
          </thead>
          <tbody>
            ${n.map(r=>i`<tr>
                  <th scope="row">${r}</th>
                  ${o.map(h=>i`<td>${this.cell(l(r,h),a)}</td>`)}
                </tr>`)}
          </tbody>
        </table>
      </div>
    </section>`}cell(e,t){if(!e)return"";let{chosen:s}=this,a=s?.classifier===t&&s.edited===e.edited&&s.read===e.read,n=e.on_target?"own":e.verdict==="shortcut"?"shortcut":"",o=e.effect===null?"–":T(e.effect);return i`<button
      class="cell ${n}"
      aria-pressed=${a?"true":"false"}
      aria-label=${`${e.edited} edited, ${e.read} read: ${o}, ${e.verdict}`}
      title=${`${e.reason} ${e.n} patients`}
      @click=${()=>{this.open(t,e)}}
    >
      ${n==="shortcut"?"▲":""}${o}
    </button>`}steps(e){return i`<div class="row">
      <button ?disabled=${this.at<=0} @click=${()=>{this.show(this.at-1)}}>Previous</button>
      <button ?disabled=${this.at+1>=e} @click=${()=>{this.show(this.at+1)}}>
        Next
      </button>
      <span class="quiet">${this.at<0?e:`${this.at+1} of ${e}`}</span>
    </div>`}caseList(e){let{edited:t,read:s}=this.chosen,a=n=>i`<td class="number">${n===null?"":n.toFixed(2)}</td>`;return i`<section aria-label="Cases">
      <h3>${t} edited, ${s} read</h3>
      ${e.shows?d:i`<p class="notice">
            To see the pictures of cases, start the studio with the audit's data: --data.
          </p>`}
      ${this.steps(this.cases.length)}
      <div class="scroll cases">
        <table>
          <thead>
            <tr>
              <th scope="col">Case</th>
              ${["baseline","sham","edited","net"].map(n=>i`<th scope="col" class="number">${n}</th>`)}
            </tr>
          </thead>
          <tbody>
            ${this.cases.slice(0,R).map((n,o)=>i`<tr class=${o===this.at?"asked":""}>
                  <td>
                    <button class="plain" @click=${()=>{this.show(o)}}>${n.baseline_id}</button>
                  </td>
                  ${[n.baseline,n.sham,n.counterfactual,n.net].map(a)}
                </tr>`)}
          </tbody>
        </table>
      </div>
    </section>`}pictureList(e){let t=`/run/${this.number}/pixels/${this.at}/counterfactual`;return i`<section aria-label="Pictures">
      <h3>Pictures</h3>
      ${this.steps(e.pictures.length)}
      ${this.at>=0&&!this.chosen?i`<rm-viewer
            class="single"
            group="studio"
            bar="none"
            synthetic
            label=${e.pictures[this.at]}
            src=${t}
          ></rm-viewer>`:d}
    </section>`}};function T(c){return`${c<0?"−":"+"}${Math.abs(c).toFixed(2)}`}function C(c){let e=t=>t==null?"":typeof t=="number"&&!Number.isInteger(t)?t.toFixed(3):String(t);return i`<details>
    <summary>${c.name} (${c.count})</summary>
    <div class="scroll" tabindex="0" role="region" aria-label=${c.name}>
      <table>
        <thead>
          <tr>
            ${c.columns.map(t=>i`<th scope="col">${t}</th>`)}
          </tr>
        </thead>
        <tbody>
          ${c.rows.map(t=>i`<tr>${t.map(s=>i`<td>${e(s)}</td>`)}</tr>`)}
        </tbody>
      </table>
    </div>
  </details>`}customElements.define("rm-run",b);var g="studio",f=["Baseline","Counterfactual","Sham","Difference"],x={counterfactual:"edited"},$=300,E=250,v=class extends m{static properties={state:{state:!0},edits:{state:!0},source:{state:!0},current:{state:!0},compared:{state:!0},panes:{state:!0},message:{state:!0},filter:{state:!0},running:{state:!0},spelled:{state:!0},all:{state:!0}};view=y(g);polling=0;awaited=0;constructor(){super(),this.state=this.spelled=null,this.edits=this.compared=[],this.source=this.message=this.filter="",this.current=0,this.panes=f,this.running=this.all=!1}createRenderRoot(){return this}connectedCallback(){super.connectedCallback(),this.replaceChildren(),this.begin(),this.view.addEventListener("strokes",()=>this.requestUpdate()),document.addEventListener("dragover",e=>e.preventDefault()),document.addEventListener("drop",e=>{e.preventDefault(),this.open(e.dataTransfer?.files)}),document.addEventListener("keydown",e=>{e.ctrlKey&&e.key==="Enter"&&this.querySelector("form")?.requestSubmit()}),this.addEventListener("rm-case",e=>this.await(e.detail))}async begin(){await this.attempt(async()=>{this.state=await u("/state"),this.edits=this.state.edits,this.running=this.state.run,this.state.sources.length&&!this.running&&this.choose(this.state.sources[0].id)})}async attempt(e){this.message="";try{await e()}catch(t){this.message=t.message}}choose(e){e!==this.source&&(this.view.setStrokes([]),this.view.change({rulers:[]}),this.view.reset()),this.source=e,this.current=0,this.compared=[],this.spelled=null}show(e){e.source&&e.source!==this.source&&this.choose(e.source),this.current=e.number,this.compared=[],this.spelled=null}async open(e){await this.attempt(async()=>{for(let t of e??[]){this.message="Reading the file";let{id:s}=await w(t);this.state=await u("/state"),this.running=!1,this.choose(s)}this.message=""})}submit=e=>{e.preventDefault();let t=P(e.target),s=this.view.strokes;this.attempt(async()=>{this.await(await u("/edit",{source:this.source,options:t,strokes:s}))})};await(e){this.awaited=e.number,this.edits=[...this.edits.filter(t=>t.number!==e.number),e],clearTimeout(this.polling),this.polling=window.setTimeout(()=>{this.poll()},E)}async poll(){await this.attempt(async()=>{this.edits=await u("/edits");let t=this.edits.find(a=>a.number===this.awaited);t&&t.arms.length>0?(this.awaited=0,this.show(t)):t?.state==="failed"&&(this.awaited=0);let s=t?.state==="failed"?t.message||t.status:"";s&&(this.message=s)}),this.edits.some(t=>t.state!=="done"&&t.state!=="failed")&&(this.polling=window.setTimeout(()=>{this.poll()},E))}get edit(){return this.edits.find(e=>e.number===this.current)}async save(e){await this.attempt(async()=>{let{folder:t}=await u(`/edits/${e.number}/save`,{});this.message=`Saved in ${t}`})}async spell(e,t){await this.attempt(async()=>{this.spelled=await u(`/edits/${e.number}/spelling`),await navigator.clipboard?.writeText(this.spelled[t]).catch(()=>{}),this.message="Copied"})}render(){let{state:e}=this;return i`<div class="page">
      <header class="topbar">
        <h1>RoentMod studio</h1>
        ${e?.run?i`<div class="row" role="group" aria-label="View">
              ${[!0,!1].map(t=>i`<button
                    aria-pressed=${this.running===t?"true":"false"}
                    @click=${()=>this.running=t}
                  >
                    ${t?"Run":"Edit"}
                  </button>`)}
            </div>`:d}
        <span class="quiet">Edited pictures are <b class="mark">SYNTHETIC</b>. Research software,
          not for clinical use.</span>
        <span class="grow"></span>
        <span role="status" aria-live="polite" class="said">${this.message}</span>
        <label class="button open"
          >Open a picture<input
            type="file"
            multiple
            class="visually-hidden"
            @change=${t=>{this.open(t.target.files)}}
        /></label>
      </header>
      <div class="columns">
        ${this.running?i`<rm-run class="findings" aria-label="Run"></rm-run>`:i`<nav class="list" aria-label="Pictures and history">${this.lists()}</nav>`}
        <main class="work">
          <rm-bar group=${g} ?brush=${!this.running} compare></rm-bar>
          ${this.paneButtons()}
          <div class="panes n${this.shown().length}">${this.shown()}</div>
        </main>
        <aside class="side" aria-label="Settings and readings">
          ${!this.running&&e?this.settings(e):d}
          ${this.edit?this.outcome(this.edit):d}
        </aside>
      </div>
    </div>`}lists(){let e=this.filter.toLowerCase(),t=(this.state?.sources??[]).filter(a=>a.name.toLowerCase().includes(e)),s=(this.state?.sources.length??0)>12;return i`<h2>Pictures</h2>
      ${s?i`<input
            type="search"
            aria-label="Filter pictures"
            placeholder="Filter"
            @input=${a=>this.filter=a.target.value}
          />`:d}
      <ul>
        ${t.slice(0,$).map(a=>i`<li>
              <button
                class="plain"
                title=${a.name}
                aria-pressed=${a.id===this.source?"true":"false"}
                @click=${()=>this.choose(a.id)}
              >
                ${a.name}
              </button>
            </li>`)}
      </ul>
      ${t.length===0?i`<p class="quiet">Drop a DICOM, PNG, JPEG or TIFF here, or open one.</p>`:d}
      ${t.length>$?i`<p class="quiet">And ${t.length-$} more: filter them.</p>`:d}
      <h2>History</h2>
      <ol class="history">
        ${[...this.edits].reverse().map(a=>this.past(a))}
      </ol>`}past(e){let t=e.state==="waiting"||e.state==="editing",s={waiting:"waiting",editing:"editing",shown:"reading",done:"",failed:"failed"};return i`<li>
      <input
        type="checkbox"
        aria-label=${`Compare ${e.number}`}
        title="Compare"
        .checked=${this.compared.includes(e.number)}
        ?disabled=${e.arms.length===0}
        @change=${()=>this.compare(e.number)}
      />
      <button
        class="plain"
        title=${e.title}
        aria-pressed=${e.number===this.current?"true":"false"}
        ?disabled=${t||e.arms.length===0}
        @click=${()=>this.show(e)}
      >
        ${e.number} ${e.title}${e.painted?" (painted)":""}
        <span class=${e.state==="failed"?"bad":"quiet"}>${s[e.state]}</span>
      </button>
      ${t?i`<progress aria-label="Editing"></progress>`:d}
    </li>`}compare(e){let t=this.compared.filter(s=>s!==e);this.compared=t.length<this.compared.length?t:[...t,e].slice(-6)}paneButtons(){if(!this.edit||this.compared.length>1)return d;let e=t=>{let s=this.panes.filter(n=>n!==t),a=f.filter(n=>this.panes.includes(n)||n===t);this.panes=s.length===this.panes.length?a:s.length?s:this.panes};return i`<div class="row chosen" role="group" aria-label="Panes">
      ${f.map(t=>i`<button
            aria-pressed=${this.panes.includes(t)?"true":"false"}
            @click=${()=>e(t)}
          >
            ${t}
          </button>`)}
    </div>`}shown(){let{edit:e}=this,t=(a,n,o,l,r="")=>i`<rm-viewer
        group=${g}
        bar="none"
        label=${a}
        src=${n}
        baseline=${o}
        show=${r}
        ?brush=${!this.running}
        ?synthetic=${l}
      ></rm-viewer>`,s=(a,n)=>`/pixels/edit/${a.number}/${n}`;if(this.compared.length>1)return this.edits.filter(a=>this.compared.includes(a.number)).map(a=>t(`${a.number} ${a.title}`,s(a,"counterfactual"),s(a,"baseline"),!0));if(e){let a=s(e,"baseline"),n=s(e,"counterfactual"),o={Baseline:()=>t("Baseline",a,"",!1),Counterfactual:()=>t("Counterfactual",n,a,!0),Sham:()=>t("Sham",s(e,"sham"),a,!0),Difference:()=>t("Difference",n,a,!0,"difference")},l={Baseline:"baseline",Counterfactual:"counterfactual",Sham:"sham"};return this.panes.filter(r=>e.arms.includes(r==="Difference"?"counterfactual":l[r])).map(r=>o[r]())}return this.source?[t("Baseline",`/pixels/source/${this.source}/baseline`,"",!1)]:[]}settings(e){let t=(o,l)=>[l===void 0?d:i`<option value="">${l}</option>`,...o.map(r=>i`<option>${r}</option>`)],s=e.findings.map(o=>o.name),a=(o,l,r,h,p,k)=>i`<div class="field">
        <label for=${o}>${l}</label
        ><input id=${o} name=${o} type="number" value=${r} min=${h} max=${p} step=${k} />
      </div>`,n=this.view.strokes.length;return i`<form @submit=${this.submit} aria-label="Edit">
      <h2>Edit</h2>
      <div class="pair">
        <div class="field">
          <label for="action">Action</label
          ><select id="action" name="action">
            <option value="add">add</option>
            <option value="remove">remove</option>
          </select>
        </div>
        <div class="field">
          <label for="editor">Editor</label
          ><select id="editor" name="editor">${t(e.editors)}</select>
        </div>
      </div>
      <div class="field">
        <label for="findings">Findings (several are one edit)</label
        ><select id="findings" name="findings" multiple size="4">${t(s)}</select>
      </div>
      <div class="pair">
        <div class="field">
          <label for="side">Side, the patient's</label
          ><select id="side" name="side">${t(["left","right","both"],"any")}</select>
        </div>
        <div class="field">
          <label for="severity">Severity</label
          ><select id="severity" name="severity">${t(e.severities,"any")}</select>
        </div>
      </div>
      <div class="field">
        <label for="region">Region in words; or paint it with the brush</label
        ><input id="region" name="region" type="text" list="places" placeholder="anywhere" />
        <datalist id="places">
          ${["usual",...e.regions].map(o=>i`<option value=${o}></option>`)}
        </datalist>
        ${n?i`<span>Painted with ${n} ${n===1?"stroke":"strokes"}.</span>`:d}
      </div>
      <div class="pair three">
        ${a("strength","Strength","0.4","0.05","1","0.05")}
        ${a("guidance_scale","Guidance","4","0","100","0.5")}
        ${a("seed","Seed","0","0","999999999","1")}
      </div>
      <details>
        <summary>Hold, one way, prompt, files</summary>
        <div class="field">
          <label for="hold">Hold (must not come along)</label
          ><select id="hold" name="hold" multiple size="3">${t(["linked",...s])}</select>
        </div>
        <label class="row"
          ><input type="checkbox" name="one_way" /> One way: opacities take no density away</label
        >
        <div class="field">
          <label for="prompt">Free prompt, instead of our wording</label
          ><input id="prompt" name="prompt" type="text" />
        </div>
        <div class="pair">
          <div class="field">
            <label for="format">Format</label
            ><select id="format" name="format">${t(["same","png","dicom"])}</select>
          </div>
          <label class="row"><input type="checkbox" name="burn_in" /> SYNTHETIC in the pixels</label>
        </div>
      </details>
      <button class="primary wide" ?disabled=${!this.source}>Edit <kbd>Ctrl Enter</kbd></button>
    </form>`}outcome(e){let t=e.state==="done"&&e.source!=="";return i`<section class="outcome" aria-label="Outcome">
      <h2>${e.number} ${e.title}</h2>
      <p class="quiet">
        ${e.status==="ok"?"":`${e.status}. `}${e.message} Pictures after
        ${e.seconds.toFixed(2)} s.${e.words?i` Judge: ${e.words}.`:d}
      </p>
      ${e.readings.length?this.readings(e):i`<p class="quiet">Reading</p>`}
      ${e.source?i`<div class="row">
            <button ?disabled=${!t} @click=${()=>{this.save(e)}}>Save</button>
            <button @click=${()=>{this.spell(e,"command")}}>Copy command</button>
            <button @click=${()=>{this.spell(e,"python")}}>Copy Python</button>
          </div>`:d}
      ${this.spelled?i`<pre tabindex="0">${this.spelled.command}</pre>
            <pre tabindex="0">${this.spelled.python}</pre>`:d}
    </section>`}readings(e){let t=e.arms,s=r=>Number(r.counterfactual)-Number(r.baseline),a=r=>e.title.includes(r.finding.toLowerCase().replaceAll(" ","-")),n=e.readings.filter(r=>this.all||a(r)||Math.abs(s(r))>=.1),o=new Set(e.readings.map(r=>r.reader)).size>1,l=r=>Number(r).toFixed(2);return i`<table class="readings">
        <caption class="quiet">Probabilities read in each picture</caption>
        <thead>
          <tr>
            <th scope="col">Finding</th>
            ${t.map(r=>i`<th scope="col" class="number">${x[r]??r}</th>`)}
            <th scope="col" class="number">change</th>
          </tr>
        </thead>
        <tbody>
          ${n.map(r=>i`<tr class=${a(r)?"asked":""}>
                <th scope="row">${r.finding}${o?i` <i>${r.reader}</i>`:d}</th>
                ${t.map(h=>i`<td class="number">${l(r[h])}</td>`)}
                <td class="number">
                  ${s(r)>=0?"+":"−"}${Math.abs(s(r)).toFixed(2)}
                </td>
              </tr>`)}
        </tbody>
      </table>
      <label class="row"
        ><input
          type="checkbox"
          .checked=${this.all}
          @change=${()=>this.all=!this.all}
        />all findings (${e.readings.length})</label
      >`}};function P(c){let e=new FormData(c),t=l=>String(e.get(l)??"").trim(),s={editor:t("editor")},a=e.getAll("findings").join(" + ");a&&(s[t("action")]=[a]);for(let l of["prompt","side","severity","region"])t(l)&&(s[l]=t(l));let n=e.getAll("hold");n.length&&(s.hold=n),e.get("one_way")&&(s.composite="one-way");let o={strength:.4,guidance_scale:4,seed:0};for(let[l,r]of Object.entries(o))t(l)&&Number(t(l))!==r&&(s[l]=Number(t(l)));return t("format")!=="same"&&(s.format=[t("format")]),e.get("burn_in")&&(s.burn_in=!0),s}customElements.define("rm-studio",v);export{v as Studio};
